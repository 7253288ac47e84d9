"""What a picture should be answered with: its label, mixed with FER+'s votes where they are given.

FER+ (Barsoum et al., "Training Deep Networks for Facial Expression Recognition with Crowd-Sourced
Label Distribution", ICMI 2016) has ten people's votes for the pictures of FER2013.
"""

from __future__ import annotations

import csv
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from fer_edge.errors import DataError
from fer_edge.evaluation.fer2013 import LabelledCrops

__all__ = ["log_priors", "read_votes", "soft_targets"]

Floats = npt.NDArray[np.float32]

_COLUMNS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
"""FER+'s names in the order of ``fer_edge.LABELS``; its contempt, unknown and NF are left out."""

_MIN_VOTES, _MAX_VOTES = 5, 1e6


def read_votes(path: Path) -> dict[str, Floats]:
    """Read ``ferplus_votes.csv``: per file name the shares of the seven emotions, sum 1.

    Pictures with fewer than five votes for these seven are left out. Raises DataError for a file
    that is not of that form.
    """
    votes: dict[str, Floats] = {}
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            if missing := {"file", *_COLUMNS} - set(reader.fieldnames or ()):
                raise ValueError(f"it lacks {', '.join(sorted(missing))}")
            for row in reader:
                told = [float(row[column]) for column in _COLUMNS]
                if not all(0 <= count <= _MAX_VOTES for count in told):  # the sum is finite, too
                    raise ValueError(f"votes not from 0 to {_MAX_VOTES:g} for {row['file']:.80}")
                counts = np.array(told, np.float32)
                if counts.sum() >= _MIN_VOTES:
                    votes[PurePosixPath(row["file"]).name] = counts / counts.sum()
    except (OSError, TypeError, ValueError, csv.Error) as problem:
        raise DataError(
            f"{path} is no table of FER+ votes with the columns file, {', '.join(_COLUMNS)}: "
            f"{problem!r}"
        ) from problem
    return votes


def soft_targets(crops: LabelledCrops, votes: dict[str, Floats] | None, share: float) -> Floats:
    """Targets float32 ``(N, K)``, rows with the sum 1.

    Where a picture has votes they make up ``share`` of its target, and its label the rest.
    Raises DataError where votes are given and not one fits a picture.
    """
    targets = np.eye(len(crops.classes), dtype=np.float32)[crops.labels]
    if votes is None:
        return targets
    known = {PurePosixPath(path).name: row for row, path in enumerate(crops.names)}
    found = known.keys() & votes.keys()
    if not found:
        raise DataError(
            f"none of the {len(votes)} voted pictures is in the training split, whose first is "
            f"{crops.names[0]}; votes name files as Kaggle's zip does"
        )
    for name in found:
        row = known[name]
        targets[row] = (1 - share) * targets[row] + share * votes[name]
    return targets


def log_priors(crops: LabelledCrops) -> Floats:
    """Logarithms of the class frequencies, float32 ``(K,)``; every class counts one more."""
    counts = np.bincount(crops.labels, minlength=len(crops.classes)) + 1
    return np.asarray(np.log(counts / counts.sum()), np.float32)
