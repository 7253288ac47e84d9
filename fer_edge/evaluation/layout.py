"""Where the pictures of a folder or zip stand: in which half, and in which class.

``HALF/CLASS/…/picture``, where a half is a folder called train, test, val or the like, in any
case; or ``CLASS/…/picture`` without halves, which is all for training. Anything else is an error
that names it, because a missing picture would go unnoticed.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import IO, NamedTuple

from fer_edge.errors import DataError
from fer_edge.evaluation.picture_files import Listing, SourceFile

__all__ = [
    "ALL_FOR_TRAINING",
    "FER2013_NAMES",
    "PRIVATE",
    "PUBLIC",
    "TEST",
    "TRAIN",
    "Entry",
    "Survey",
    "half_named",
    "is_named_as_fer2013",
    "survey",
    "test_table_beside",
]

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


class Entry(NamedTuple):
    """One picture: its name in the source, what its class is called, and the splits it is in.

    ``box`` is x, y, width and height of the face in its pixels, None for the whole picture.
    """

    name: str
    key: str
    splits: tuple[str, ...]
    open: Callable[[], IO[bytes]]
    box: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class Survey:
    """All labelled pictures of a source, and what a user should know of how they were found.

    ``halves`` names the folder of each half; ``found`` tells in words what is there.
    """

    entries: tuple[Entry, ...]
    notes: tuple[str, ...] = ()
    found: str = ""
    halves: Mapping[str, str] = field(default_factory=dict)


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
    placed = [(file, _place(file.folders)) for file in pictures]
    if not any(place for _, place in placed):
        _refuse_empty_halves(listing, source, {}, set())
        return _without_halves(listing, pictures, source)
    roots: dict[str, dict[str, list[SourceFile]]] = defaultdict(lambda: defaultdict(list))
    for file, place in placed:
        if place is not None:
            split, depth = place
            roots[split]["/".join(file.folders[:depth])].append(file)
    notes: list[str] = []
    kept = {split: _only_tree(split, trees, source, notes) for split, trees in roots.items()}
    _refuse_strangers(listing, placed, kept, source)
    if loose := [file.name for file, place in placed if place is None]:
        notes.append(f"{len(loose)} pictures are in no half and left out, {loose[0]} for one")
    entries = []
    has_validation = PUBLIC in kept
    for split, root in kept.items():
        depth = _depth(root)
        for file in _in_class_folders(listing, root, source):
            splits = _splits_of(file, split, has_validation=has_validation)
            entries.append(Entry(file.name, file.folders[depth], splits, file.open))
    entries = _without_second_copies(entries, listing, notes)
    order = {file.name: number for number, file in enumerate(listing.files)}
    entries.sort(key=lambda entry: order[entry.name])
    return Survey(tuple(entries), tuple(notes), ", ".join(sorted(kept.values())), kept)


@lru_cache(maxsize=4096)
def _place(folders: tuple[str, ...]) -> tuple[str, int] | None:
    """The split of a picture in these folders, and how many of them lead to its half.

    The innermost half counts: a user may keep all in a folder that is called test.
    """
    for depth in range(len(folders) - 1, 0, -1):
        if split := half_named(folders[depth - 1]):
            return split, depth
    return None


def _depth(root: str) -> int:
    return len(root.split("/"))


def _only_tree(
    split: str, trees: dict[str, list[SourceFile]], source: Path, notes: list[str]
) -> str:
    """The folder of a half; where the same files stand in several, the outermost of them."""
    first, *others = sorted(trees, key=lambda root: (_depth(root), root))
    for other in others:
        if not _are_the_same(trees[first], first, trees[other], other):
            raise DataError(
                f"{source} has two folders of {split}, {first} and {other}, with different "
                "pictures; give the folder around the one that you mean, or move the other away"
            )
        notes.append(f"{other} holds the same pictures as {first} and is left out")
    return first


def _are_the_same(
    some: list[SourceFile], root: str, others: list[SourceFile], other_root: str
) -> bool:
    """Whether two folders hold the same files under the same names."""
    by_name = {file.name[len(root) :]: file for file in some}
    pairs = [(by_name.get(file.name[len(other_root) :]), file) for file in others]
    if len(by_name) != len(others) or any(one is None or one.size != b.size for one, b in pairs):
        return False
    return all(one is not None and _content(one) == _content(file) for one, file in pairs)


def _content(file: SourceFile) -> bytes:
    digest = hashlib.sha256()
    with file.open() as stream:
        for part in iter(lambda: stream.read(1 << 20), b""):
            digest.update(part)
    return digest.digest()


def _without_second_copies(entries: list[Entry], listing: Listing, notes: list[str]) -> list[Entry]:
    """Leave out a folder that holds the files of another folder of its class and half."""
    files = {file.name: file for file in listing.files}
    by_folder: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_folder[entry.name.rpartition("/")[0]].append(entry)
    seen: dict[tuple[object, ...], str] = {}
    left_out = set()
    for folder in sorted(by_folder, key=lambda folder: (_depth(folder), folder)):
        within = [files[entry.name] for entry in by_folder[folder]]
        first = by_folder[folder][0]
        names = tuple(sorted((file.name[len(folder) :], file.size) for file in within))
        known = seen.setdefault((first.splits, first.key.lower(), names), folder)
        if known != folder:
            same = [files[entry.name] for entry in by_folder[known]]
            if _are_the_same(same, known, within, folder):
                notes.append(f"{folder} holds the same pictures as {known} and is left out")
                left_out.add(folder)
    return [entry for entry in entries if entry.name.rpartition("/")[0] not in left_out]


def _splits_of(file: SourceFile, split: str, *, has_validation: bool) -> tuple[str, ...]:
    if split == TRAIN:
        return (TRAIN,)
    if split == TEST:
        split = FER2013_NAMES.get(file.name.rpartition("/")[2].split("_")[0], TEST)
        if split in (TRAIN, TEST):
            return (PRIVATE, TEST) if has_validation else (TEST,)
    return (split, TEST)


def _in_class_folders(listing: Listing, root: str, source: Path) -> Iterable[SourceFile]:
    start, depth = f"{root}/", _depth(root)
    for file in listing.files:
        if not file.name.startswith(start):
            continue
        if file.suffix in _ARCHIVES:
            raise DataError(f"{source}: {file.name} is packed; unpack it, or move it away")
        if file.suffix in _PAPERS or file.name.endswith("/Thumbs.db"):
            continue
        if len(file.folders) <= depth:
            if file.suffix not in _PICTURES:
                continue
            raise DataError(
                f"{source}: {file.name} stands in no class folder; put each picture of {root} into "
                "the folder of its class, or give a list file with the columns path,label"
            )
        yield file


def _refuse_strangers(
    listing: Listing,
    placed: list[tuple[SourceFile, tuple[str, int] | None]],
    kept: dict[str, str],
    source: Path,
) -> None:
    """Refuse what stands beside the halves and could be one of them."""
    roots = set(kept.values())
    around = {root.rpartition("/")[0] for root in roots}
    for file, place in placed:
        if place is not None:
            continue
        for base in around:
            below = file.name[len(base) :].strip("/") if file.name.startswith(base) else ""
            folder, inner, _ = below.partition("/")
            if inner and not any(root.startswith(f"{base}/{folder}".strip("/")) for root in roots):
                half = half_named(folder)
                advice = (
                    "put its pictures into class folders, or move it away"
                    if half
                    else "if it is a half, call it test or val; else move it away"
                )
                raise DataError(
                    f"{source}: {folder} stands beside {', '.join(sorted(roots))}, has pictures, "
                    f"and is not read; {advice}"
                )
    _refuse_empty_halves(listing, source, kept, around)


def _refuse_empty_halves(
    listing: Listing, source: Path, kept: dict[str, str], around: set[str]
) -> None:
    """A half that is there and empty, packed or in a table would be missed in silence."""
    filled = {
        "/".join(folders[:depth])
        for folders in {file.folders for file in listing.files}
        for depth in range(1, len(folders) + 1)
    }
    for folder in listing.folders:
        base, _, name = folder.rpartition("/")
        is_beside = base in around or not kept
        if half_named(name) and is_beside and folder not in filled:
            raise DataError(
                f"{source}: {folder} is there and has no pictures; fill it, or remove it"
            )
    for file in listing.files:
        base, _, name = file.name.rpartition("/")
        half = _HALVES.get(_WORDS.split(name.lower())[0])
        if half is None or not (base in around or not kept):
            continue
        if file.suffix in _ARCHIVES:
            kind = "packed; unpack it"
        elif file.suffix in _STAND_INS:
            kind = "a file, no folder; put the folder in its place"
        elif file.suffix in _TABLES and set(kept) == {TRAIN} and half != TRAIN:
            kind = "a table; read it by itself"
        else:
            continue
        raise DataError(f"{source}: {file.name} could be a half, and is {kind}, or move it away")


def test_table_beside(listing: Listing, table: SourceFile) -> str | None:
    """The name of a table or folder next to ``table`` that could be its test half."""
    base = table.name.rpartition("/")[0]
    for name in (*(file.name for file in listing.files), *listing.folders):
        around, _, last = name.rpartition("/")
        if around == base and name != table.name:
            suffix = last[last.rfind(".") :] if "." in last else ""
            is_half = half_named(last.removesuffix(suffix)) not in (None, TRAIN)
            if is_half and suffix in {"", *_TABLES, *_ARCHIVES}:
                return name
    return None


def _without_halves(listing: Listing, pictures: list[SourceFile], source: Path) -> Survey:
    if not pictures:
        if packed := [file.name for file in listing.files if file.suffix in _ARCHIVES]:
            raise DataError(
                f"{source} holds {packed[0]}, which is packed itself; unpack that, and give it"
            )
        if tables := [file.name for file in listing.files if file.suffix == ".csv"]:
            raise DataError(
                f"{source} has no pictures, but {', '.join(tables[:_SHOWN])}; give such a table "
                "itself, out of any zip: FER2013's of pixels, or a list of pictures"
            )
        return Survey((), (), _told(listing))
    root = _common_root(pictures)
    entries = []
    for file in listing.files:
        inner = file.folders[len(root) :]
        if file.suffix in _PAPERS or (not inner and file.suffix not in _PICTURES):
            continue
        if not inner:
            raise DataError(
                f"{source}: {file.name} stands in no class folder; put pictures into "
                "train/<class>/, or give a list file with the columns path,label"
            )
        if file.folders[: len(root)] == root:
            entries.append(Entry(file.name, inner[0], (TRAIN,), file.open))
    notes = [ALL_FOR_TRAINING]
    entries = _without_second_copies(entries, listing, notes)
    return Survey(tuple(entries), tuple(notes), _told(listing))


def _common_root(pictures: list[SourceFile]) -> tuple[str, ...]:
    """The folders around the class folders: those that all pictures share."""
    folders = [file.folders for file in pictures]
    root = 0
    while all(len(one) > root + 1 for one in folders) and len({one[root] for one in folders}) == 1:
        root += 1
    return folders[0][:root]


def _told(listing: Listing) -> str:
    names = sorted({name.split("/")[0] for name in listing.folders})
    names += sorted(file.name for file in listing.files if "/" not in file.name)
    shown = ", ".join(names[:_SHOWN]) or "nothing"
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown
