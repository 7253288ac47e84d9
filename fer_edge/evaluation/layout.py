"""Where the pictures of a folder or zip stand: in which half, and in which class.

``HALF/CLASS/…/picture``, where a half is a folder called train, test, val or the like, in any
case; or ``CLASS/…/picture`` without halves, which is all for training. Anything else is an error
that names it, because a missing picture would go unnoticed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import takewhile
from operator import attrgetter
from pathlib import Path
from typing import IO, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from fer_edge.errors import DataError
from fer_edge.evaluation.classes import emotion_named
from fer_edge.evaluation.halves import (
    FER2013_NAMES,
    PRIVATE,
    PUBLIC,
    TEST,
    TRAIN,
    half_and_class,
    half_named,
)
from fer_edge.evaluation.hidden_halves import refuse_data_in_a_file, refuse_hidden_halves
from fer_edge.evaluation.picture_files import (
    ARCHIVES,
    PAPERS,
    PICTURES,
    SHORTCUTS,
    Listing,
    SourceFile,
)
from fer_edge.system.files import sha256_of_stream

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


def survey(listing: Listing, source: Path) -> Survey:
    """Find the labelled pictures. Raises DataError for those that have no place."""
    pictures = [file for file in listing.files if file.suffix in PICTURES]
    other = PAPERS | ARCHIVES | SHORTCUTS  # a picture may have any other suffix, or none
    halves = {
        root
        for file in listing.files
        if file.suffix not in other and (root := _half_around(file.folders))
    }
    if not pictures and not halves:
        refuse_data_in_a_file(listing, source)
        refuse_hidden_halves(listing, listing.files, set(), {}, source)
        return Survey((), (), _told(listing))
    around = {_around_classes(half, pictures): half for half in halves or {()}}
    roots = sorted(around, key=len, reverse=True)
    has_validation = any(half_named(root[-1]) == PUBLIC for root in halves)
    notes: list[str] = []
    found: list[tuple[SourceFile, Entry]] = []
    passed: list[SourceFile] = []
    by_name = not halves and _tell_halves_by_name(pictures)
    for file in listing.files:
        root = next((root for root in roots if file.folders[: len(root)] == root), None)
        if root is None:
            continue
        if (key := _class_of(file, root, source)) is None:
            passed += [file] if len(file.folders) > len(root) else []
        else:
            if halves:
                half = _half_of(file, around[root][-1], has_validation)
            else:
                half = _named_half(file) if by_name else TRAIN
            found.append((file, Entry(file.name, key, half, file.open)))
    if passed:
        notes.append(
            f"{len(passed)} files in class folders are no pictures and left out, "
            f"{passed[0].name} for one"
        )
    kept = _without_second_copies(found, notes)
    entries = tuple(entry for _, entry in kept)
    read = _one_folder_of_each_half([file for file, _ in kept], source) if halves else {}
    filled = {file.folders[:depth] for file, _ in found for depth in range(len(file.folders) + 1)}
    # not files in class folders, where papers may have any name
    others = [file for file in listing.files if len(file.folders) <= _depth_of_root(file, roots)]
    refuse_hidden_halves(listing, others, filled, read, source)
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
    if file.suffix in ARCHIVES:
        raise DataError(f"{source}: {file.name} is packed; unpack it, or move it away")
    if file.suffix in PAPERS:
        return None
    # a half is no class: its loose pictures have none
    if len(file.folders) > len(root) and not half_named(file.folders[len(root)]):
        key, *below = file.folders[len(root) :]
        if in_one := half_and_class(key):
            raise DataError(
                f"{source}: {key} names a half and a class in one; put its pictures into "
                f"{'/'.join(in_one)}"
            )
        if half := next((name for name in below if half_named(name) not in (None, TRAIN)), None):
            raise DataError(
                f"{source}: {file.name} stands in {half} inside of a class; put the classes into "
                f"the halves, {half}/{key}"
            )
        return key
    if file.suffix in SHORTCUTS or (not file.suffix and emotion_named(file.last)):
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


def _depth_of_root(file: SourceFile, roots: Sequence[_Folders]) -> int:
    """How many folders deep the half or whole is that a file stands in; all of them if in none."""
    return next((len(r) for r in roots if file.folders[: len(r)] == r), len(file.folders))


def _told(listing: Listing) -> str:
    names = sorted({name.split("/")[0] for name in listing.folders})
    names += sorted(file.name for file in listing.files if "/" not in file.name)
    shown = ", ".join(names[:_SHOWN]) or "nothing"
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown
