"""FER2013's tables of pixels: a row per picture, with its emotion, pixels and Usage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO

import numpy as np
import numpy.typing as npt

from fer_edge.emotion import LABELS
from fer_edge.errors import DataError
from fer_edge.evaluation.classes import DROP, emotion_named, labels_of, plain
from fer_edge.evaluation.crops import SIDE
from fer_edge.evaluation.halves import FER2013_NAMES, TEST, TRAIN, half_named
from fer_edge.evaluation.layout import Entry, Survey
from fer_edge.evaluation.tables import open_table

MAX_PICTURES = 150_000
"""Four times FER2013. One takes 5.8 kB while a split is put together, so all of them 0.9 GB."""

_COLUMNS, _USAGE = ("emotion", "pixels"), "usage"
_PIXELS = {str(value): value for value in range(256)}
_NUMBERED = {str(number): name for number, name in enumerate(LABELS)}


def read_pixels(
    stream: IO[bytes],
    source: str,
    split: str | None,
    mapping: Mapping[str, str],
    *,
    alone: bool = True,
) -> Survey:
    """Read the rows of one split, or of all; ``mapping`` is ``--classes``.

    The numbers are FER2013's, unless ``mapping`` says what they are, and not only what to drop.
    Not ``alone``, with another data set that ``mapping`` is for as well, they are always FER2013's.
    Without a column of usages, as in the challenge's own train.csv, all rows are for training.
    Raises DataError for a row that does not fit, with its line.
    """
    entries: list[Entry] = []
    # icml_face_data.csv writes its header as "emotion, Usage, pixels"
    with open_table(stream, source, MAX_PICTURES) as table:
        names = _names(source, mapping, alone=alone)
        lowered = [name.lower() for name in table.header]
        told = lowered.index(_USAGE) if _USAGE in lowered else None
        columns = table.columns(*_COLUMNS)
        for place, (number, row) in enumerate(table.rows, 1):  # empty lines are no rows
            where = f"{source} line {number}"
            if len(row) <= max(*columns, told or 0):
                raise DataError(f"{where} has {len(row)} fields; expected {len(lowered)}")
            emotion, pixels = (row[column] for column in columns)
            usage = TRAIN if told is None else row[told]
            if (half := half_named(usage)) is None:
                known = ", ".join(FER2013_NAMES)
                raise DataError(f"{where} has the Usage {usage!r}; expected {known}")
            if split not in (None, half) and (split != TEST or half == TRAIN):
                continue
            if (key := _key_of(emotion, names)) is None:
                said = ",".join(f"{number}={name}" for number, name in names.items())
                raise DataError(
                    f"{where} has the emotion {emotion!r}; expected {', '.join(names)}, or say "
                    f'what the numbers are: --classes "{said},{emotion:.30}=NAME"'
                )
            picture = _picture(pixels.split(), where)
            entries.append(Entry(f"{source} row {place}", key, half, picture))
    notes = () if told is not None else (f"{source} has no column Usage: all is for training",)
    return Survey(tuple(entries), notes, names=names)


def _names(source: str, mapping: Mapping[str, str], *, alone: bool) -> Mapping[str, str]:
    """What the emotions of a table's rows stand for."""
    names = mapping if alone and labels_of(mapping) else {**_NUMBERED, **mapping}
    for number, name in _NUMBERED.items():
        if not alone and names[number] not in (name, DROP):
            raise DataError(
                f"--classes says {number}={names[number]}, and {number} is {name} in {source}, a "
                "table of FER2013; call the classes of the other data set by names"
            )
    return names


def _key_of(told: str, names: Mapping[str, str]) -> str | None:
    """The number that a row tells, itself or by the emotion's name."""
    key, label = plain(told), emotion_named(told)
    return key if key in names else next((k for k, name in names.items() if name == label), None)


def _picture(values: list[str], where: str) -> npt.NDArray[np.uint8]:
    if len(values) != SIDE * SIDE:
        raise DataError(f"{where} has {len(values)} pixels instead of {SIDE * SIDE}")
    try:
        data = bytes(_PIXELS[value] for value in values)
    except KeyError as problem:
        raise DataError(f"{where} has the pixel {problem}, no number from 0 to 255") from problem
    return np.frombuffer(data, np.uint8).reshape(SIDE, SIDE)
