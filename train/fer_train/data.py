"""What training sees, and what it selects on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fer_edge.evaluation import fer2013
from fer_edge.evaluation.fer2013 import LabelledCrops
from fer_edge.system.files import sha256_of
from fer_train.targets import read_votes, soft_targets

__all__ = ["TrainingData", "prepare"]


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Crops to learn from and crops to select on.

    ``targets``, float32 ``(N, 7)``, is what each training picture should be answered with.
    ``copied_validation``, bool ``(N,)``, marks the validation pictures that stand in the archive's
    train split. ``left_out`` counts the training pictures that were dropped, by reason;
    ``sha256`` covers what is left, its targets and the validation split. ``votes`` tells the table
    of FER+ votes that is in the targets, None where they are the labels.
    """

    train: LabelledCrops
    targets: npt.NDArray[np.float32]
    validation: LabelledCrops
    copied_validation: npt.NDArray[np.bool_]
    left_out: dict[str, int]
    sha256: str
    votes: str | None


def prepare(path: Path, votes: Path | None = None, share: float = 0.5) -> TrainingData:
    """Read the clean training split and ``public-test``.

    ``votes`` is a table of FER+ votes, which make up ``share`` of the targets. Raises DataError
    as ``fer2013.load`` and ``targets.read_votes`` do.
    """
    whole = fer2013.load(path, "train")
    validation = fer2013.load(path, "public-test")
    train, left_out = fer2013.clean(whole, fer2013.load(path, "test"))
    both = LabelledCrops(
        np.concatenate([train.images, validation.images]),
        np.concatenate([train.labels, validation.labels]),
        train.names + validation.names,
        train.classes,
    )
    copied = fer2013.copies_of(validation.images, whole.images)
    targets = soft_targets(train, None if votes is None else read_votes(votes), share)
    digest, voted = both.sha256, None
    if votes is not None:
        voted = f"{votes.name}, sha256 {sha256_of(votes)[:12]}"
        digest = hashlib.sha256(digest.encode() + targets.tobytes()).hexdigest()
    return TrainingData(train, targets, validation, copied, left_out, digest, voted)
