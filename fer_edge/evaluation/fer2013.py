"""FER2013 in every form that people have it, and other data sets of faces by the same reader.

FER2013: Kaggle's folder or zip (``train/<class>/*.jpg`` and ``test/<class>/*.jpg``, where the
names ``PublicTest_*`` and ``PrivateTest_*`` tell the two halves of ``test``), ``fer2013.csv``
(``emotion,pixels,Usage``) and ``icml_face_data.csv`` (the same columns in another order), each
also inside a zip or folder. Source of the data: Goodfellow et al., "Challenges in Representation
Learning", ICONIP 2013.

Others: folders of classes of one's own, with halves (``layout``) or without, and list files
(``lists``); ``classes`` tells which labels their classes are.
"""

from __future__ import annotations

import os
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import TypeAlias

import numpy as np

from fer_edge.artifacts.spec import MIN_LABELS, InputSpec
from fer_edge.errors import DataError, EmptySplitError
from fer_edge.evaluation.classes import Classes, resolve
from fer_edge.evaluation.crops import SIDE, LabelledCrops, clean, copies_of, held_out
from fer_edge.evaluation.data_source import DataSource
from fer_edge.evaluation.decoding import decode_all
from fer_edge.evaluation.halves import PRIVATE, PUBLIC, TEST, TRAIN
from fer_edge.evaluation.hidden_halves import test_half_beside
from fer_edge.evaluation.layout import (
    ALL_FOR_TRAINING,
    Entry,
    Survey,
    is_named_as_fer2013,
    survey,
)
from fer_edge.evaluation.lists import MAX_LISTED, PATH_COLUMNS, read_list
from fer_edge.evaluation.picture_files import PICTURES, named_alike, open_file, opened, what_it_is
from fer_edge.evaluation.pixel_tables import MAX_PICTURES, read_pixels
from fer_edge.evaluation.tables import open_table
from fer_edge.system.read_file import as_address

__all__ = [
    "SIDE",
    "SPLITS",
    "Data",
    "LabelledCrops",
    "chosen_of",
    "classes_of",
    "clean",
    "copies_of",
    "entries_of",
    "limited",
    "load",
    "load_clean_train",
    "load_halves",
    "test_halves",
]

SPLITS = (TRAIN, PUBLIC, PRIVATE, TEST)
"""``public-test``, to select on, and ``private-test`` are the halves of ``test``."""

_WHERE = {
    TRAIN: "train/<class>/*.jpg, or Usage Training",
    PUBLIC: "val/<class>/*.jpg, test/<class>/PublicTest_*, or Usage PublicTest",
    PRIVATE: "test/<class>/PrivateTest_*, test beside val, or Usage PrivateTest",
    TEST: "test/<class>/*.jpg, or Usage PublicTest and PrivateTest",
}
"""Where the pictures of each split stand, for the message of an empty one."""

_TABLES = {"fer2013.csv", "icml_face_data.csv"}
_LISTS = {".csv", ".tsv", ".txt", ".lst"}

Data: TypeAlias = str | Path | DataSource


def load(
    data: Data,
    split: str,
    *,
    labels: Sequence[str] | None = None,
    wanted: InputSpec | None = None,
    like: LabelledCrops | None = None,
) -> LabelledCrops:
    """Read one split, every picture decoded once.

    ``data`` is a folder, a zip, a CSV of FER2013 or a list of pictures; ``split`` one of
    ``SPLITS``. A picture of ``test`` whose name tells no half belongs to none, and to ``test``.
    ``labels`` are a model's, where the data set has to fit one. Pictures that are not FER2013's are
    brought to ``wanted``, a network's input (``decoding.decode_all``). ``like`` takes the place of
    both: another half, whose classes, size and colour this one gets.

    Raises DataError for a missing path or class, an unreadable picture, a wrong pixel count, an
    unknown ``Usage``, a table with a line or number of lines far beyond FER2013's, classes that
    do not fit and, as EmptySplitError, a split without pictures.
    """
    source = DataSource.of(data)
    if split not in SPLITS:
        raise DataError(f"unknown split {split!r}; there are {', '.join(SPLITS)}")
    if source.validation_share and split in (TRAIN, PUBLIC):
        train, public = load_halves(source, labels=labels, wanted=wanted)
        return train if split == TRAIN else public
    if split == PUBLIC and source.validation is not None:
        return _read(source.for_validation, None, labels, wanted, like)
    return _read(source, split, labels, wanted, like)


def load_halves(
    data: Data, *, labels: Sequence[str] | None = None, wanted: InputSpec | None = None
) -> tuple[LabelledCrops, LabelledCrops]:
    """Read ``train`` and ``public-test``; where one is a share of the other, decode them once.

    ``public-test`` gets the classes and the size of ``train``. Arguments and errors are those of
    ``load``.
    """
    source = DataSource.of(data)
    whole = _read(source, TRAIN, labels, wanted)
    if not source.validation_share:
        return whole, load(source, PUBLIC, like=whole)
    held = held_out(whole, source)
    return whole.take(~held), whole.take(held)


def test_halves(data: Data, like: LabelledCrops) -> list[LabelledCrops]:
    """The test half to compare ``like`` with, all of it whatever the limit; empty without one."""
    try:
        return [load(DataSource.of(data).whole, TEST, like=like)]
    except EmptySplitError:
        return []


def load_clean_train(
    data: Data, *, labels: Sequence[str] | None = None
) -> tuple[LabelledCrops, dict[str, int]]:
    """Read the part of ``train`` that may be learnt from or calibrated on, as ``clean`` leaves it.

    Where the data set has no test half, what was left out has no count of its copies. Raises
    DataError as ``load`` does, and where nothing is left.
    """
    train = load(data, TRAIN, labels=labels)
    source = DataSource.of(data)
    tests = test_halves(source, train)
    if source.validation is not None:
        tests.append(load(source.whole, PUBLIC, like=train))
    elif source.validation_share:  # of the pictures that the limit leaves
        tests.append(load(source, PUBLIC, like=train))
    kept, left_out = clean(train, *tests)
    if not tests:
        del left_out["copies of a test picture"]
    return kept, left_out


@contextmanager
def entries_of(data: Data, split: str | None = None) -> Iterator[Survey]:
    """The labelled pictures of a data set, which can be opened within the block.

    ``split`` leaves out the rows of a table of pixels that are not of it. Raises DataError for what
    is there and cannot be placed.
    """
    source = DataSource.of(data)
    path, alone = source.path, not (source.validation or source.partner)
    if os.path.isdir(path) or (os.path.isfile(path) and zipfile.is_zipfile(path)):
        with opened(path) as listing:
            tables = (file for file in listing.files if file.last.lower() in _TABLES)
            if table := next(tables, None):
                name = f"{path}:{table.name}"
                found = read_pixels(table.open(), name, split, source.mapping, alone=alone)
                beside = test_half_beside(listing, table)
                if split != TRAIN and beside and not any(e.is_in(TEST) for e in found.entries):
                    raise DataError(
                        f"{name} has no rows of the split {split or TEST}, and {beside} beside it "
                        f"could be its test half; give the table alone, or move that away"
                    )
                loose = [file.name for file in listing.files if file.suffix in PICTURES]
                note = f"{len(loose)} pictures beside {table.name} are left out: it is read alone"
                yield replace(found, notes=(*found.notes, note)) if loose else found
            else:
                yield survey(listing, path)
    elif not os.path.isfile(path):
        if address := as_address(path):
            raise DataError(f"{address} is an address; download the data set and give its path")
        raise DataError(
            f"no FER2013 at {path}{named_alike(path)}: give Kaggle's zip or folder, a CSV file, a "
            "folder of classes or a list of pictures"
        )
    elif path.suffix.lower() not in _LISTS:
        raise DataError(
            f"{path} is neither a folder, a zip nor a CSV file of FER2013: {what_it_is(path)}"
        )
    elif _is_of_pixels(path):
        yield read_pixels(open_file(path), str(path), split, source.mapping, alone=alone)
    else:
        yield read_list(path)


def _is_of_pixels(path: Path) -> bool:
    with open_table(open_file(path), str(path), MAX_LISTED) as table:
        lowered = {name.lower() for name in table.header}
        known = {"pixels"} if lowered & set(PATH_COLUMNS) else {"pixels", "usage"}
        return not table.header or bool(lowered & known and lowered & {"emotion"})


def _read(
    source: DataSource,
    split: str | None,
    labels: Sequence[str] | None,
    wanted: InputSpec | None,
    like: LabelledCrops | None = None,
) -> LabelledCrops:
    """Read a split, or, of a data set that is a validation half as a whole, what it selects on."""
    labels = labels if like is None else like.classes
    with entries_of(source, split) as found:
        classes = classes_of(found, source, labels)
        chosen = chosen_of(found.entries, split, source)
        notes = [note for note in found.notes if split is not None or note != ALL_FOR_TRAINING]
        if not found.names and chosen:
            notes += _missing_classes(found, split, source, classes)
        kept = limited([e for e in chosen if classes.index[e.key] is not None], source)
        if not kept:
            raise EmptySplitError(_empty_message(source, split or PUBLIC, found))
        images = decode_all(kept, split or PUBLIC, wanted, like)
    numbers = np.array([classes.index[entry.key] for entry in kept], np.int64)
    names = tuple(entry.name for entry in kept)
    return LabelledCrops(images, numbers, names, classes.labels, tuple(notes))


def classes_of(found: Survey, source: DataSource, labels: Sequence[str] | None = None) -> Classes:
    """The classes of what was found, which have to fit ``labels``. Raises DataError.

    Of a data set and the other one to select on, each may have names of its own in ``--classes``.
    """
    if found.names:  # a table need not have every class
        return resolve(found.names, str(source), found.names, labels)
    elsewhere: set[str] = set()
    if source.mapping and (other := source.validation or source.partner):
        beside = replace(source, path=other, validation=None, partner=source.path)
        with entries_of(beside) as theirs:
            elsewhere = {entry.key for entry in theirs.entries}
    keys = {entry.key for entry in found.entries}
    return resolve(keys, str(source), source.mapping, labels, elsewhere)


def chosen_of(entries: Sequence[Entry], split: str | None, source: DataSource) -> list[Entry]:
    """The pictures of a split, or, of another data set (None), its half to select on."""
    if split is None:
        kinds = (PUBLIC, TEST, TRAIN)
        chosen = next((c for kind in kinds if (c := [e for e in entries if e.is_in(kind)])), [])
    else:
        chosen = [entry for entry in entries if entry.is_in(split)]
    most = MAX_PICTURES if all(map(is_named_as_fer2013, chosen)) else MAX_LISTED
    if len(chosen) > most:
        raise DataError(
            f"{source} has {len(chosen):,} pictures of {split}, and {most:,} are the most "
            "that are read at once; FER2013 has 35,887. Read fewer with --limit"
        )
    return chosen


def _missing_classes(
    found: Survey, split: str | None, source: DataSource, classes: Classes
) -> list[str]:
    """Raise DataError for a class that a half lacks; of another data set to select on, note it.

    FER2013's halves of ``test`` may lack a class, as small sets do.
    """
    half = TRAIN if split == TRAIN else TEST
    seen = {
        classes.index[entry.key] for entry in found.entries if split is None or entry.is_in(half)
    }
    missing = [name for place, name in enumerate(classes.labels) if place not in seen]
    if missing and split is None:
        return [f"{source} has no pictures of {', '.join(missing)}"]
    if missing:
        folders = [f for kind, f in found.halves.items() if (kind == TRAIN) == (half == TRAIN)]
        where = f"{source}: {' and '.join(folders) or half}"
        option = classes.without(missing)
        advice = (
            f'If it is, say what its classes are: --classes "{option}"'
            if option
            else (f"A model has {MIN_LABELS} classes at least")
        )
        raise DataError(
            f"{where} lacks the class folders {', '.join(missing)}; is it complete? {advice}"
        )
    return []


def limited(entries: Sequence[Entry], source: DataSource) -> Sequence[Entry]:
    """At most ``limit`` pictures, of every class in turn; drawn, as neighbours are alike."""
    if source.limit is None or len(entries) <= source.limit:
        return entries
    by_class: dict[str, list[int]] = defaultdict(list)
    for number in np.random.default_rng(source.seed).permutation(len(entries)):
        by_class[entries[number].key].append(int(number))
    turns = chain.from_iterable(zip_longest(*by_class.values()))
    chosen = [number for number in turns if number is not None][: source.limit]
    return [entries[number] for number in sorted(chosen)]


def _empty_message(source: DataSource, split: str, found: Survey) -> str:
    there = f"; it has {found.found}" if found.found else ""
    advice = ". To select on another half, give --validation FOLDER or --validation-share 0.1"
    return (
        f"{source} has no pictures of {split} ({_WHERE[split]}){there}"
        f"{advice if split == PUBLIC else ''}"
    )
