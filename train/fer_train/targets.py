"""The answer that a training picture should get: its label, mixed with FER+'s votes if given.

FER+ (Barsoum et al., "Training Deep Networks for Facial Expression Recognition with Crowd-Sourced
Label Distribution", ICMI 2016) has ten people's votes. Its own ``fer2013new.csv`` has a row for
each row of ``fer2013.csv``; a table with the column ``file`` names pictures as Kaggle's zip does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from fer_edge.emotion import LABELS
from fer_edge.errors import DataError
from fer_edge.evaluation.crops import LabelledCrops
from fer_edge.evaluation.picture_files import open_file
from fer_edge.evaluation.tables import open_table

Floats = npt.NDArray[np.float32]


def soft_targets(crops: LabelledCrops, votes: Votes | None, share: float) -> Floats:
    """Targets float32 ``(N, K)``, rows with the sum 1.

    Where a picture has votes they make up ``share`` of its target, and its label the rest.
    Raises DataError where votes are given and not one fits a picture.
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

_FILE, _IMAGE, _USAGE = "file", "Image name", "Usage"
_MIN_VOTES, _MAX_VOTES = 5, 1e6
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
        """Shares by position in ``crops``. Raises DataError where not one picture has any."""
        found = {}
        for position, name in enumerate(crops.names):
            row = _ROW.search(name)
            key: str | int = PurePosixPath(name).name if row is None else int(row[1])
            if key in self.shares:
                found[position] = self.shares[key]
        if not found:
            by_row = any(isinstance(key, int) for key in self.shares)
            advice = (
                "these votes go by the rows of fer2013.csv, so give that as --data"
                if by_row
                else "these votes go by file names, as Kaggle's zip has them"
            )
            raise DataError(
                f"{self.source} has votes for none of the training pictures, of which the first is "
                f"{crops.names[0]}; {advice}"
            )
        return found


def read_votes(path: Path, labels: tuple[str, ...] = LABELS) -> Votes:
    """Read ``fer2013new.csv``, or a table with the column ``file``, for ``labels``.

    Raises DataError for a file that is not of that form, and for labels that FER+ does not have.
    """
    if strangers := [label for label in labels if label not in _COLUMNS]:
        raise DataError(
            f"FER+ has no votes for {', '.join(strangers)}; leave out --votes, or train on "
            f"{', '.join(_COLUMNS)}"
        )
    votes = Votes(str(path), {})
    with open_table(open_file(path), str(path), _MAX_ROWS) as table:
        has_rows = _FILE not in table.header and {_USAGE, _IMAGE} <= set(table.header)
        names = [_COLUMNS[label] for label in labels]
        columns = table.columns(_IMAGE if has_rows else _FILE, *names)
        for row, (number, fields) in enumerate(table.rows, 1):
            where = f"{path} line {number}"
            if len(fields) <= max(columns):
                raise DataError(f"{where} has {len(fields)} fields, too few for votes")
            name, *told = (fields[column].strip() for column in columns)
            shares = _shares(told, where)
            if shares is None:
                continue
            if has_rows:
                votes.shares[row] = shares
            if name:
                votes.shares[PurePosixPath(name.replace("\\", "/")).name] = shares
    return votes


def _shares(told: list[str], where: str) -> Floats | None:
    """Turn counts of votes into shares; None for too few votes."""
    try:
        counts = np.array([float(count) for count in told])
    except ValueError as problem:
        raise DataError(f"{where} has votes {told}, not numbers") from problem
    if not ((counts >= 0) & (counts <= _MAX_VOTES)).all():  # so that their sum is finite, too
        raise DataError(f"{where} has votes {told}; expected 0 to {_MAX_VOTES:g}")
    total = counts.sum()
    return (counts / total).astype(np.float32) if total >= _MIN_VOTES else None
