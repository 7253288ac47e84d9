"""The answer that a training picture should get: its label, mixed with FER+'s votes if given.

FER+ (Barsoum et al., "Training Deep Networks for Facial Expression Recognition with Crowd-Sourced
Label Distribution", ICMI 2016) has ten people's votes. A table with a column ``file``, or as lists
call it, names its pictures, as Kaggle's zip does. Any other has a row for each row of
``fer2013.csv``, as FER+'s own ``fer2013new.csv``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from fer_edge.emotion import LABELS
from fer_edge.errors import DataError
from fer_edge.evaluation.classes import emotion_named
from fer_edge.evaluation.crops import LabelledCrops
from fer_edge.evaluation.lists import PATH_COLUMNS
from fer_edge.evaluation.picture_files import open_file
from fer_edge.evaluation.tables import open_table

Floats = npt.NDArray[np.float32]


def soft_targets(crops: LabelledCrops, votes: Votes | None, share: float) -> Floats:
    """Targets float32 ``(N, K)``, rows with the sum 1.

    Where a picture has votes they make up ``share`` of its target, and its label the rest.
    Raises DataError for votes that are of other pictures.
    """
    targets = np.eye(len(crops.classes), dtype=np.float32)[crops.labels]
    if votes is None:
        return targets
    for row, shares in votes.of(crops).items():
        targets[row] = (1 - share) * targets[row] + share * shares
    return targets


def log_priors(crops: LabelledCrops) -> Floats:
    """Logarithms of the class frequencies, float32 ``(K,)``; one is added to each count."""
    counts = crops.counts() + 1
    return np.asarray(np.log(counts / counts.sum()), np.float32)


_COLUMNS = {
    "angry": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happiness",
    "sad": "sadness",
    "surprise": "surprise",
    "neutral": "neutral",
    "contempt": "contempt",
}
"""FER+'s name of each emotion; its unknown and NF (not a face) are left out."""

_IMAGE = "image name"
"""FER+'s column of files that its own script writes; empty for what is no face."""

_MIN_VOTES, _MAX_VOTES = 5, 1e6
_ENOUGH, _AGREEING = 30, 1 / 3
"""FER+ agrees with two labels in three; votes for other pictures agree with one in six."""

_MAX_ROWS = 150_000
_ROW = re.compile(r" row (\d+)$")


@dataclass(frozen=True, eq=False)
class Votes:
    """Shares of the votes, float32 ``(K,)`` with the sum 1, by file name or by row of FER2013.

    Pictures with fewer than five votes for the K emotions are left out. Rows are counted from 1, in
    the order of ``fer2013.csv``.
    """

    source: str
    shares: dict[str | int, Floats]

    def of(self, crops: LabelledCrops) -> dict[int, Floats]:
        """Shares by position in ``crops``.

        Raises DataError where not one picture has any, where two have the same, and where the votes
        agree with so few labels that they are of other pictures.
        """
        found: dict[int, Floats] = {}
        owner: dict[str | int, str] = {}
        for position, name in enumerate(crops.names):
            row = _ROW.search(name)
            key: str | int = PurePosixPath(name).name if row is None else int(row[1])
            if key not in self.shares:
                continue
            if owner.setdefault(key, name) != name:
                raise DataError(
                    f"{self.source} tells pictures by their file names, and {owner[key]} and "
                    f"{name} have the same one; rename one"
                )
            found[position] = self.shares[key]
        if not found:
            by_row = any(isinstance(key, int) for key in self.shares)
            advice = (
                "these votes go by the rows of fer2013.csv, so give that as --data, or name the "
                "pictures in a column called file"
                if by_row
                else "these votes go by file names, as Kaggle's zip has them"
            )
            raise DataError(
                f"{self.source} has votes for none of the training pictures, of which the first is "
                f"{crops.names[0]}; {advice}"
            )
        agreeing = sum(int(s.argmax()) == crops.labels[at] for at, s in found.items())
        if len(found) >= _ENOUGH and agreeing < _AGREEING * len(found):
            raise DataError(
                f"{self.source} agrees with {agreeing} of {len(found)} labels, and votes for the "
                "same pictures agree with most; are its rows in the order of the data, or its "
                "names those of other pictures?"
            )
        return found


def read_votes(path: Path, labels: tuple[str, ...] = LABELS) -> Votes:
    """Read a table with a column for each of ``labels``, which may be called as classes are.

    Raises DataError for a file that is not of that form, for different votes for one file name, and
    for labels that FER+ does not have.
    """
    if strangers := [label for label in labels if label not in _COLUMNS]:
        raise DataError(
            f"FER+ has no votes for {', '.join(strangers)}; leave out --votes, or train on "
            f"{', '.join(_COLUMNS)}"
        )
    votes, names = Votes(str(path), {}), (*PATH_COLUMNS, _IMAGE)
    with open_table(open_file(path), str(path), _MAX_ROWS) as table:
        lowered = [name.lower() for name in table.header]
        at = next((lowered.index(name) for name in names if name in lowered), None)
        has_rows = at is None or lowered[at] == _IMAGE
        spelled = {emotion_named(name): name for name in lowered}
        columns = table.columns(*(spelled.get(label, _COLUMNS[label]) for label in labels))
        for row, (number, fields) in enumerate(table.rows, 1):
            where = f"{path} line {number}"
            if len(fields) <= max(*columns, at or 0):
                raise DataError(f"{where} has {len(fields)} fields, too few for votes")
            name = "" if at is None else PurePosixPath(fields[at].replace("\\", "/")).name
            shares = _shares([fields[column] for column in columns], where)
            if shares is None:
                continue
            if has_rows:
                votes.shares[row] = shares
            if name and not np.array_equal(votes.shares.setdefault(name, shares), shares):
                raise DataError(
                    f"{where} has other votes for {name} than a line above, and pictures are told "
                    "by their file names; give each a name of its own"
                )
    if not votes.shares:
        raise DataError(
            f"{path} has no line with {_MIN_VOTES} votes for these emotions; expected how many "
            "people voted for each, not their share"
        )
    return votes


def _shares(told: list[str], where: str) -> Floats | None:
    """Turn counts of votes into shares; None for too few votes. An empty field is no vote."""
    said = " ".join(told)
    try:
        counts = np.array([float(count or 0) for count in told])
    except ValueError as problem:
        raise DataError(f"{where} has votes {said:.60}, not numbers") from problem
    if not ((counts >= 0) & (counts <= _MAX_VOTES)).all():  # so that their sum is finite, too
        raise DataError(f"{where} has votes {said:.60}; expected 0 to {_MAX_VOTES:g}")
    total = counts.sum()
    return (counts / total).astype(np.float32) if total >= _MIN_VOTES else None
