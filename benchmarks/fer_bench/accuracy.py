"""Accuracy of a model on a split of FER2013, through the Predictor that users call."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fer_edge import fer2013, metrics
from fer_edge.emotion import LABELS
from fer_edge.errors import EmptySplitError
from fer_edge.fer2013 import LabelledCrops
from fer_edge.metrics import ClassScores
from fer_edge.predictor import Predictor
from fer_edge.progress import progress

__all__ = ["AccuracyResult", "EvaluationSplit", "load_split", "measure_accuracy"]

_BATCH = 64


@dataclass(frozen=True, eq=False)
class EvaluationSplit:
    """Crops to measure on; ``copied`` marks, bool ``(N,)``, those that stand in train too.

    It is None where the archive has no training half, or where train itself is measured.
    """

    name: str
    crops: LabelledCrops
    copied: np.ndarray | None


@dataclass(frozen=True)
class AccuracyResult:
    """One model on one split; rates are fractions of 1, NLL in nats."""

    model: str
    sha256: str | None
    backend: str
    provider: str
    precision: str
    inference_precision: str
    split: str
    n: int
    accuracy: float
    accuracy_ci95: tuple[float, float]
    accuracy_without_copies: float | None
    n_without_copies: int | None
    macro_f1: float
    ece: float
    nll: float
    per_class: dict[str, ClassScores]
    confusion: tuple[tuple[int, ...], ...]


def load_split(data: str | os.PathLike[str], split: str) -> EvaluationSplit:
    """Read a split, and which of its pictures stand in train. Raises DataError."""
    crops = fer2013.load(Path(data), split)
    if split == "train":
        return EvaluationSplit(split, crops, None)
    try:
        train = fer2013.load(Path(data), "train")
    except EmptySplitError:
        return EvaluationSplit(split, crops, None)
    return EvaluationSplit(split, crops, fer2013.copies_of(crops.images, train.images))


def measure_accuracy(
    model: str, predictor: Predictor, split: EvaluationSplit, label: str = "measuring"
) -> AccuracyResult:
    """Classify every crop of a split; ``model`` is the name that the result bears."""
    crops = split.crops
    parts = []
    with progress(len(crops), label) as bar:
        for start in range(0, len(crops), _BATCH):
            images = crops.images[start : start + _BATCH]
            parts += [p.probabilities for p in predictor.predict_batch(list(images))]
            bar.advance(len(images))
    probabilities = np.stack(parts)
    scores = metrics.score(crops.labels, probabilities, LABELS)
    right = probabilities.argmax(axis=1) == crops.labels
    alone = None if split.copied is None else ~split.copied
    info = predictor.info
    return AccuracyResult(
        model=model,
        sha256=info.sha256,
        backend=info.backend,
        provider=info.provider,
        precision=info.precision,
        inference_precision=info.inference_precision,
        split=split.name,
        n=scores.n,
        accuracy=scores.accuracy,
        accuracy_ci95=scores.accuracy_ci95,
        accuracy_without_copies=float(right[alone].mean()) if _any(alone) else None,
        n_without_copies=None if alone is None else int(alone.sum()),
        macro_f1=scores.macro_f1,
        ece=scores.ece,
        nll=scores.nll,
        per_class=scores.per_class,
        confusion=scores.confusion,
    )


def _any(mask: np.ndarray | None) -> bool:
    return mask is not None and bool(mask.any())
