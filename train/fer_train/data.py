"""What training sees, and what it selects on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fer_edge import fer2013
from fer_edge.fer2013 import LabelledCrops

__all__ = ["TrainingData", "prepare"]


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Crops to learn from and crops to select on.

    ``copied_validation``, bool ``(N,)``, marks the validation pictures that stand in the archive's
    train split. ``left_out`` counts the training pictures that were dropped, by reason;
    ``sha256`` covers what is left and the validation split.
    """

    train: LabelledCrops
    validation: LabelledCrops
    copied_validation: npt.NDArray[np.bool_]
    left_out: dict[str, int]
    sha256: str


def prepare(path: Path) -> TrainingData:
    """Read the clean training split and ``public-test``.

    Raises DataError as ``fer2013.load`` does.
    """
    train, left_out = fer2013.load_clean_train(path)
    validation = fer2013.load(path, "public-test")
    whole_train = fer2013.load(path, "train")
    both = LabelledCrops(
        np.concatenate([train.images, validation.images]),
        np.concatenate([train.labels, validation.labels]),
        train.names + validation.names,
    )
    copied = fer2013.copies_of(validation.images, whole_train.images)
    return TrainingData(train, validation, copied, left_out, both.sha256)
