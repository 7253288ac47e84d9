"""Where the pictures of a folder or zip stand: in which half, and in which class.

``HALF/CLASS/…/picture``, where a half is a folder called train, test, val or the like, in any
case; or ``CLASS/…/picture`` without halves, which is all for training. Anything else is an error
that names it, because a missing picture would go unnoticed.
"""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import takewhile
from operator import attrgetter
from pathlib import Path
from typing import IO, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from fer_edge.errors import DataError
from fer_edge.evaluation.picture_files import Listing, SourceFile
from fer_edge.system.files import sha256_of_stream

TRAIN, PUBLIC, PRIVATE, TEST = "train", "public-test", "private-test", "test"

FER2013_NAMES = {"Training": TRAIN, "PublicTest": PUBLIC, "PrivateTest": PRIVATE}
"""FER2013's own words for its splits, which are also how its pictures' names begin."""

_HALVES = {
    **dict.fromkeys(("train", "training", "trn", "trainset"), TRAIN),
    **dict.fromkeys(
        ("val", "valid", "validation", "validate", "dev", "eval", "evaluation"), PUBLIC
    ),
    **dict.fromkeys(("publictest", "public test"), PUBLIC),
    **dict.fromkeys(("privatetest", "private test"), PRIVATE),
    **dict.fromkeys(("test", "tests", "testing", "tst", "testset"), TEST),
}
_FILLERS = {"set", "data", "images", "imgs", "pictures", "faces", "split", "folder", "half", "fer"}
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_WORDS = re.compile(r"[^a-z]+")

_PICTURES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".pjpeg", ".png", ".webp", ".bmp", ".dib"),
    *(".tif", ".tiff", ".gif", ".avif", ".heic", ".heif", ".jp2", ".jxl", ".ppm", ".pgm", ".pbm"),
}
"""Suffixes of pictures. Not all of these can be read, and one that cannot be is an error."""

_PAPERS = {
    *(".txt", ".md", ".csv", ".tsv", ".json", ".xml", ".html", ".pdf", ".bib", ".ini", ".db"),
    *(".py", ".ipynb", ".log", ".yaml", ".yml", ".mat", ".npy", ".npz", ".pkl", ".pts"),
}
_TABLES = {".csv", ".tsv", ".npz", ".npy", ".mat", ".pkl", ".h5", ".parquet", ".tfrecord"}
_STAND_INS = {"", ".lnk", ".url"}
"""Of files that stand for a folder: git's links on Windows are files, and so are shortcuts."""
_ARCHIVES = {".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"}
_SHOWN = 8

ALL_FOR_TRAINING = "there are no folders train and test, so all pictures are taken for training"
"""Noted of folders without halves; another use of the whole leaves it out."""


_Folders: TypeAlias = tuple[str, ...]


class Entry(NamedTuple):
    """One picture: its name in the source, what its class is called, and the half it is in.

    ``half`` is a split, ``test`` for a picture of neither half of it. ``content`` opens its file,
    or is its pixels, 48 x 48. ``box`` is x, y, width and height of the face in its pixels, None for
    the whole picture.
    """

    name: str
    key: str
    half: str
    content: Callable[[], IO[bytes]] | npt.NDArray[np.uint8]
    box: tuple[int, int, int, int] | None = None

    def is_in(self, split: str) -> bool:
        """Whether it is a picture of ``split``; both its halves are in ``test``."""
        return split == self.half or (split == TEST and self.half != TRAIN)


@dataclass(frozen=True)
class Survey:
    """All labelled pictures of a source, and what a user should know of how they were found.

    ``halves`` names the folder of each half; ``found`` tells in words what is there. ``names`` are
    the labels by the numbers of a table of pixels, empty for other sources.
    """

    entries: tuple[Entry, ...]
    notes: tuple[str, ...] = ()
    found: str = ""
    halves: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)


def is_named_as_fer2013(entry: Entry) -> bool:
    """Whether the picture has a name of FER2013's, such as ``Training_0001.jpg``."""
    return entry.name.rpartition("/")[2].split("_")[0] in FER2013_NAMES


@lru_cache(maxsize=4096)
def half_named(folder: str) -> str | None:
    """The split that a folder's name stands for; None where it is another name."""
    for spelled in (folder, _CAMEL.sub(" ", folder)):
        words = [word for word in _WORDS.split(spelled.lower()) if word and word not in _FILLERS]
        if half := _HALVES.get(" ".join(words)):
            return half
    return None


def survey(listing: Listing, source: Path) -> Survey:
    """Find the labelled pictures. Raises DataError for those that have no place."""
    pictures = [file for file in listing.files if file.suffix in _PICTURES]
    halves = {root for file in pictures if (root := _half_around(file.folders))}
    if not halves:
        _refuse_hidden_halves(listing, [], {}, source)
    if not pictures:
        _refuse_data_in_a_file(listing, source)
        return Survey((), (), _told(listing))
    by_depth = zip(*(file.folders[:-1] for file in pictures), strict=False)
    shared = takewhile(lambda names: len(set(names)) == 1, by_depth)
    roots = sorted(halves, key=len, reverse=True) or [tuple(names[0] for names in shared)]
    has_validation = any(half_named(root[-1]) == PUBLIC for root in halves)
    notes = [] if halves else [ALL_FOR_TRAINING]
    found: list[tuple[SourceFile, Entry]] = []
    for file in listing.files:
        root = next((root for root in roots if file.folders[: len(root)] == root), None)
        if root is not None and (key := _class_of(file, root, source)) is not None:
            half = _half_of(file, root[-1], has_validation) if halves else TRAIN
            found.append((file, Entry(file.name, key, half, file.open)))
    kept = _without_second_copies(found, notes)
    entries = tuple(entry for _, entry in kept)
    if not halves:
        return Survey(entries, tuple(notes), _told(listing))
    read = _one_folder_of_each_half([file for file, _ in kept], source)
    loose = [file for file in pictures if not _half_around(file.folders)]
    _refuse_hidden_halves(listing, loose, read, source)
    if loose:
        notes.append(f"{len(loose)} pictures are in no half and left out, {loose[0].name} for one")
    named = {split: "/".join(root) for split, root in read.items()}
    return Survey(entries, tuple(notes), ", ".join(sorted(named.values())), named)


@lru_cache(maxsize=4096)
def _half_around(folders: _Folders) -> _Folders | None:
    """The half that a picture in these folders stands in, with a folder of its class below.

    The innermost counts: a user may keep all in a folder that is called test.
    """
    depths = range(len(folders) - 1, 0, -1)
    return next((folders[:depth] for depth in depths if half_named(folders[depth - 1])), None)


def _class_of(file: SourceFile, root: _Folders, source: Path) -> str | None:
    """What the class of a file below ``root`` is called; None for one that is no picture."""
    if file.suffix in _ARCHIVES:
        raise DataError(f"{source}: {file.name} is packed; unpack it, or move it away")
    if file.suffix in _PAPERS:
        return None
    if len(file.folders) > len(root):
        return file.folders[len(root)]
    if file.suffix not in _PICTURES:
        return None
    raise DataError(
        f"{source}: {file.name} stands in no class folder; put each picture into the folder of its "
        "class (train/<class>/), or give a list file with the columns path,label"
    )


def _half_of(file: SourceFile, folder: str, has_validation: bool) -> str:
    if (half := half_named(folder) or TRAIN) != TEST:
        return half
    named = FER2013_NAMES.get(file.last.split("_")[0], TRAIN)
    return named if named != TRAIN else PRIVATE if has_validation else TEST


def _without_second_copies(
    found: list[tuple[SourceFile, Entry]], notes: list[str]
) -> list[tuple[SourceFile, Entry]]:
    """Leave out each folder that holds the files of another one of its class and half."""
    by_folder: dict[_Folders, list[tuple[SourceFile, Entry]]] = defaultdict(list)
    for file, entry in found:
        by_folder[file.folders].append((file, entry))
    seen: dict[tuple[object, ...], list[SourceFile]] = {}
    copies: dict[_Folders, _Folders] = {}
    for folders in sorted(by_folder, key=lambda folders: (len(folders), folders)):
        files = sorted((file for file, _ in by_folder[folders]), key=attrgetter("last"))
        first = by_folder[folders][0][1]
        names = tuple((file.last, file.size) for file in files)
        known = seen.setdefault((first.half, first.key.lower(), names), files)
        if known is not files and list(map(_content, known)) == list(map(_content, files)):
            copies[folders] = known[0].folders
    if copies:
        left_out, kept = ("/".join(folders) for folders in next(iter(copies.items())))
        more = f", and {len(copies) - 1} more folders are copies" if len(copies) > 1 else ""
        notes.append(f"{left_out} holds the same pictures as {kept} and is left out{more}")
    return [(file, entry) for file, entry in found if file.folders not in copies]


def _content(file: SourceFile) -> str:
    with file.open() as stream:
        return sha256_of_stream(stream)


def _one_folder_of_each_half(files: list[SourceFile], source: Path) -> dict[str, _Folders]:
    found: dict[str, _Folders] = {}
    roots = {root for file in files if (root := _half_around(file.folders))}
    for root in sorted(roots, key=lambda root: (len(root), root)):
        split = half_named(root[-1]) or TRAIN
        if (first := found.setdefault(split, root)) != root:
            raise DataError(
                f"{source} has two folders of {split}, {'/'.join(first)} and {'/'.join(root)}, "
                "with different pictures; give the folder around the one that you mean, or move "
                "the other away"
            )
    return found


def _refuse_hidden_halves(
    listing: Listing, loose: list[SourceFile], read: Mapping[str, _Folders], source: Path
) -> None:
    """Refuse what stands beside the halves and could be one: it would be missed in silence."""
    around = {root[:-1] for root in read.values()}
    leading = {root[:depth] for root in read.values() for depth in range(1, len(root) + 1)}
    for file in loose:
        for depth in range(1, len(file.folders) + 1):
            beside = file.folders[:depth]
            if beside[:-1] in around and beside not in leading:
                advice = (
                    "put its pictures into class folders, or move it away"
                    if half_named(beside[-1])
                    else "if it is a half, call it test or val; else move it away"
                )
                halves = ", ".join(sorted(map("/".join, read.values())))
                raise DataError(
                    f"{source}: {beside[-1]} stands beside {halves}, has pictures, and is not "
                    f"read; {advice}"
                )
    filled = {f.folders[:depth] for f in listing.files for depth in range(1, len(f.folders) + 1)}
    for name in listing.folders:
        folders = tuple(name.split("/"))
        is_beside = not read or folders[:-1] in around
        if is_beside and half_named(folders[-1]) and folders not in filled:
            raise DataError(f"{source}: {name} is there and has no pictures; fill it, or remove it")
    for file in listing.files:
        half = _HALVES.get(_WORDS.split(file.last.lower())[0])
        if half is None or (read and file.folders not in around):
            continue
        is_table = file.suffix in _TABLES and set(read) == {TRAIN} and half != TRAIN
        if is_table or file.suffix in _ARCHIVES | _STAND_INS:
            raise DataError(
                f"{source}: {file.name} could be a half, and is no folder; put its pictures into "
                "one, or move it away"
            )


def _refuse_data_in_a_file(listing: Listing, source: Path) -> None:
    """Say where the pictures may be, for a source that has none."""
    if packed := [file.name for file in listing.files if file.suffix in _ARCHIVES]:
        raise DataError(
            f"{source} holds {packed[0]}, which is packed itself; unpack that, and give it"
        )
    if tables := [file.name for file in listing.files if file.suffix == ".csv"]:
        raise DataError(
            f"{source} has no pictures, but {', '.join(tables[:_SHOWN])}; give such a table "
            "itself, out of any zip: FER2013's of pixels, or a list of pictures"
        )


def test_table_beside(listing: Listing, table: SourceFile) -> str | None:
    """The name of a table or folder next to ``table`` that could be its test half."""
    base = table.name.rpartition("/")[0]
    for name in (*(file.name for file in listing.files), *listing.folders):
        around, _, last = name.rpartition("/")
        stem, suffix = posixpath.splitext(last)
        is_half = half_named(stem) not in (None, TRAIN) and suffix in {"", *_TABLES, *_ARCHIVES}
        if is_half and around == base and name != table.name:
            return name
    return None


def _told(listing: Listing) -> str:
    names = sorted({name.split("/")[0] for name in listing.folders})
    names += sorted(file.name for file in listing.files if "/" not in file.name)
    shown = ", ".join(names[:_SHOWN]) or "nothing"
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown
