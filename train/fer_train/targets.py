"""The answer that training wants for a picture: its label, mixed with FER+'s votes if given."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fer_edge.evaluation.crops import LabelledCrops
from fer_train.votes import Votes

__all__ = ["log_priors", "soft_targets"]

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
    """Logarithms of the class frequencies, float32 ``(K,)``; every class counts one more."""
    counts = np.bincount(crops.labels, minlength=len(crops.classes)) + 1
    return np.asarray(np.log(counts / counts.sum()), np.float32)
