"""Where the pictures of a folder or zip stand: in which half, and in which class.

``HALF/CLASS/…/picture``, where a half is a folder called train, test, val or the like, in any
case; or ``CLASS/…/picture`` without halves, which is all for training. Anything else is an error
that names it, because a missing picture would go unnoticed.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain, takewhile
from operator import attrgetter
from pathlib import Path
from typing import IO, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from fer_edge.errors import DataError
from fer_edge.evaluation.classes import emotion_named
from fer_edge.evaluation.picture_files import Listing, SourceFile, what_one_is
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

PICTURES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".pjpeg", ".png", ".webp", ".bmp", ".dib"),
    *(".tif", ".tiff", ".gif", ".avif", ".heic", ".heif", ".jp2", ".jxl", ".ppm", ".pgm", ".pbm"),
}
"""Suffixes of pictures. Not all of these can be read, and one that cannot be is an error."""

_PROSE = {".md", ".html", ".pdf", ".bib", ".ini", ".db", ".py", ".ipynb", ".log", ".yaml", ".yml"}
_PAPERS = _PROSE | {
    *(".txt", ".csv", ".tsv", ".json", ".xml", ".mat", ".npy", ".npz", ".pkl", ".pts"),
}
"""Suffixes of what may stand among pictures and is none; all but prose may be a half in a file."""
_SHORTCUTS = {".lnk", ".url"}
_STAND_INS = {"", *_SHORTCUTS}
"""Of files that stand for a folder: git's links on Windows are files, and so are shortcuts."""
_ARCHIVES = {".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".lz4", ".7z", ".rar"}
_OF_OFFICE = "[Content_Types].xml"
"""A member of the zips that Word and Excel write."""
_SHOWN = 8

_HALVES_BY_NAME = "there are no folders train and test; FER2013's names tell the halves"
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
    pictures = [file for file in listing.files if file.suffix in PICTURES]
    other = _PAPERS | _ARCHIVES | _SHORTCUTS  # a picture may have any other suffix, or none
    halves = {
        root
        for file in listing.files
        if file.suffix not in other and (root := _half_around(file.folders))
    }
    if not pictures and not halves:
        _refuse_data_in_a_file(listing, source)
        _refuse_hidden_halves(listing, listing.files, set(), {}, source)
        return Survey((), (), _told(listing))
    around = {_around_classes(half, pictures): half for half in halves or {()}}
    roots = sorted(around, key=len, reverse=True)
    has_validation = any(half_named(root[-1]) == PUBLIC for root in halves)
    notes: list[str] = []
    found: list[tuple[SourceFile, Entry]] = []
    by_name = not halves and _tell_halves_by_name(pictures)
    for file in listing.files:
        root = next((root for root in roots if file.folders[: len(root)] == root), None)
        if root is not None and (key := _class_of(file, root, source)) is not None:
            if halves:
                half = _half_of(file, around[root][-1], has_validation)
            else:
                half = _named_half(file) if by_name else TRAIN
            found.append((file, Entry(file.name, key, half, file.open)))
    kept = _without_second_copies(found, notes)
    entries = tuple(entry for _, entry in kept)
    read = _one_folder_of_each_half([file for file, _ in kept], source) if halves else {}
    filled = {file.folders[:depth] for file, _ in found for depth in range(len(file.folders) + 1)}
    # not files in class folders, where papers may have any name
    others = [file for file in listing.files if len(file.folders) <= _depth_of_root(file, roots)]
    _refuse_hidden_halves(listing, others, filled, read, source)
    if not halves:
        note = _HALVES_BY_NAME if by_name else ALL_FOR_TRAINING
        return Survey(entries, (note, *notes), _told(listing))
    if loose := [file for file in pictures if not _half_around(file.folders)]:
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


def _around_classes(half: _Folders, pictures: Sequence[SourceFile]) -> _Folders:
    """The folder around the class folders: that of the half, or the only one in it, such as images.

    A half without a name is the whole source.
    """
    folders = [file.folders for file in pictures]
    within = [one for one in folders if half in (one, _half_around(one) or ())]
    by_depth = zip(*(one[len(half) : -1] for one in within), strict=False)
    shared = takewhile(lambda names: len(set(names)) == 1 and not emotion_named(names[0]), by_depth)
    return (*half, *(names[0] for names in shared))


def _class_of(file: SourceFile, root: _Folders, source: Path) -> str | None:
    """What the class of a file below ``root`` is called; None for one that is no picture."""
    if file.suffix in _ARCHIVES:
        raise DataError(f"{source}: {file.name} is packed; unpack it, or move it away")
    if file.suffix in _PAPERS:
        return None
    if len(file.folders) > len(root):
        key, *below = file.folders[len(root) :]
        if half := next((name for name in below if half_named(name) not in (None, TRAIN)), None):
            raise DataError(
                f"{source}: {file.name} stands in {half} inside of a class; put the classes into "
                f"the halves, {half}/{key}"
            )
        return key
    if file.suffix in _SHORTCUTS or (not file.suffix and emotion_named(file.last)):
        raise DataError(
            f"{source}: {file.name} stands for a folder, and is a file; put the folder there"
        )
    if file.suffix not in PICTURES:
        return None
    raise DataError(
        f"{source}: {file.name} stands in no class folder; put each picture into the folder of its "
        "class (train/<class>/), or give a list file with the columns path,label"
    )


def _half_of(file: SourceFile, folder: str, has_validation: bool) -> str:
    if (half := half_named(folder) or TRAIN) != TEST:
        return half
    named = _named_half(file)
    return named if named != TRAIN else PRIVATE if has_validation else TEST


def _named_half(file: SourceFile) -> str:
    return FER2013_NAMES.get(file.last.split("_")[0], TRAIN)


def _tell_halves_by_name(pictures: Sequence[SourceFile]) -> bool:
    """Whether FER2013's pictures are all in one tree: some named as training ones, some not."""
    begins = {file.last.split("_")[0] for file in pictures}
    return "Training" in begins and len(begins & FER2013_NAMES.keys()) > 1


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
        label = emotion_named(first.key) or first.key.lower()
        known = seen.setdefault((first.half, label, names), files)
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
    listing: Listing,
    others: Sequence[SourceFile],
    filled: Set[_Folders],
    read: Mapping[str, _Folders],
    source: Path,
) -> None:
    """Refuse what is not read and could be a half: it would be missed in silence.

    ``others`` are the files outside of class folders, ``filled`` the folders around pictures that
    are read. Beside a test half only its neighbours are looked at; without one, everything.
    """
    around = {root[:-1] for root in read.values()}
    known = {*read, TEST} if PRIVATE in read else set(read)
    has_test = not known <= {TRAIN}
    loose = [file for file in others if file.suffix in PICTURES]
    for file in loose:
        for depth in range(1, len(file.folders) + 1):
            beside = file.folders[:depth]
            if beside[:-1] in around and beside not in filled:
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
    if loose and not has_test:
        raise DataError(
            f"{source} has no test half, and pictures that are in no half, {loose[0].name} for "
            "one; put them into test/<class>/, or move them away"
        )
    for name in listing.folders:
        folders = tuple(name.split("/"))
        half = half_named(folders[-1])
        if half is None or folders in filled or (has_test and folders[:-1] not in around):
            continue
        inside = next((file.name for file in others if file.name.startswith(f"{name}/")), None)
        if inside is None or not known & {half, TEST}:
            but = f", but {inside}" if inside else ""
            raise DataError(
                f"{source}: {name} is there and has no pictures{but}; fill it, or remove it"
            )
    for file in others:
        is_beside = not read or file.folders in around
        if (is_beside and _stands_for_half(file)) or _may_hold_half(file, known):
            raise DataError(
                f"{source}: {file.name} could be a half, and is no folder; put its pictures into "
                "one, or move it away"
            )


def _depth_of_root(file: SourceFile, roots: Sequence[_Folders]) -> int:
    """How many folders deep the half or whole is that a file stands in; all of them if in none."""
    return next((len(r) for r in roots if file.folders[: len(r)] == r), len(file.folders))


def _stands_for_half(file: SourceFile) -> bool:
    return _halves_in(file)[0] is not None and file.suffix in _ARCHIVES | _STAND_INS


def _may_hold_half(file: SourceFile, known: Set[str]) -> bool:
    """Whether a file could hold a half that is not ``known``: data that is named as one is.

    With no half but train any archive or shortcut could.
    """
    halves = [half for half in _halves_in(file) if half not in (None, TRAIN)]
    is_named = any(not known & {half, TEST} for half in halves) and file.suffix not in _PROSE
    return is_named or (known <= {TRAIN} and file.suffix in _ARCHIVES | _SHORTCUTS)


def _halves_in(file: SourceFile) -> list[str | None]:
    """For each word of a file's name the half that it stands for."""
    words = f"{file.last} {_CAMEL.sub(' ', file.last)}".lower()
    return [_HALVES.get(word) for word in _WORDS.split(words)]


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
    if any(file.name == _OF_OFFICE for file in listing.files):
        raise DataError(f"{source} is a spreadsheet or document; save its table as 'CSV UTF-8'")
    if told := what_one_is(listing.files):
        raise DataError(f"{source} has no pictures, but {told}")


def test_half_beside(listing: Listing, table: SourceFile) -> str | None:
    """The name of what is there with a table of pixels and could be its test half."""
    files = (
        file.name
        for file in listing.files
        if file.name != table.name and (file.suffix in PICTURES or _may_hold_half(file, set()))
    )
    folders = (
        name
        for name in listing.folders
        if half_named(name.rpartition("/")[2]) not in (None, TRAIN)
        and not table.name.startswith(f"{name}/")
    )
    return next(chain(files, folders), None)


def _told(listing: Listing) -> str:
    names = sorted({name.split("/")[0] for name in listing.folders})
    names += sorted(file.name for file in listing.files if "/" not in file.name)
    shown = ", ".join(names[:_SHOWN]) or "nothing"
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown
