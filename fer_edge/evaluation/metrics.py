"""Classification metrics over labels and probabilities, in numpy.

Labels are int64 ``(N,)``; probabilities float ``(N, K)``, each row sums to 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating]

Z_95 = 1.959963984540054
"""How many standard deviations a two-sided 95 % interval of a normal distribution reaches."""

_BINS = 15
SMALLEST_PROBABILITY = 1e-12
"""Logarithms are taken of probabilities that are clipped here."""


@dataclass(frozen=True)
class ClassScores:
    """Precision, recall and F1 of one class; ``support`` counts its pictures.

    A ratio whose denominator is 0 is 0.
    """

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Scores:
    """Accuracy with its 95 % interval, and the other metrics. Rates are fractions of 1."""

    n: int
    accuracy: float
    accuracy_ci95: tuple[float, float]
    macro_f1: float
    ece: float
    nll: float
    per_class: dict[str, ClassScores]
    confusion: tuple[tuple[int, ...], ...]


def score(labels: Labels, probabilities: Floats, names: tuple[str, ...]) -> Scores:
    """Compute every metric; ``names`` are the K class names in the order of the columns.

    Raises ValueError for an empty set, shapes that do not match, NaN or infinity.
    """
    expected = (len(labels), len(names))
    if not len(labels) or probabilities.shape != expected:
        raise ValueError(
            f"expected probabilities of shape {expected} with N > 0, not {probabilities.shape}"
        )
    if not np.isfinite(probabilities).all():
        raise ValueError("expected probabilities that are finite numbers, not NaN or infinity")
    predicted = probabilities.argmax(axis=1)
    confusion = confusion_matrix(labels, predicted, len(names))
    correct = int(np.trace(confusion))
    per_class = class_scores(confusion)
    return Scores(
        n=len(labels),
        accuracy=correct / len(labels),
        accuracy_ci95=wilson_interval(correct, len(labels)),
        macro_f1=float(np.mean([entry.f1 for entry in per_class])),
        ece=expected_calibration_error(labels, probabilities),
        nll=negative_log_likelihood(labels, probabilities),
        per_class=dict(zip(names, per_class, strict=True)),
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
    )


def confusion_matrix(labels: Labels, predicted: Labels, classes: int) -> npt.NDArray[np.int64]:
    """Count pictures; int64 ``(K, K)``, rows are true classes, columns predicted ones."""
    pairs = np.bincount(labels * classes + predicted, minlength=classes * classes)
    return pairs.reshape(classes, classes).astype(np.int64)


def class_scores(confusion: npt.NDArray[np.int64]) -> tuple[ClassScores, ...]:
    """Precision, recall and F1 per class of a confusion matrix."""
    hits = np.diag(confusion).astype(np.float64)
    support, chosen = confusion.sum(axis=1), confusion.sum(axis=0)
    precision = hits / np.maximum(chosen, 1)
    recall = hits / np.maximum(support, 1)
    f1 = 2 * hits / np.maximum(support + chosen, 1)
    columns = zip(precision, recall, f1, support, strict=True)
    return tuple(ClassScores(float(p), float(r), float(f), int(n)) for p, r, f, n in columns)


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Two-sided 95 % score interval of a rate (Wilson 1927, JASA 22:209)."""
    rate, z2 = successes / trials, Z_95**2
    centre = rate + z2 / (2 * trials)
    spread = Z_95 * math.sqrt(rate * (1 - rate) / trials + z2 / (4 * trials**2))
    scale = 1 + z2 / trials
    low, high = (centre - spread) / scale, (centre + spread) / scale
    return min(max(0.0, low), rate), max(min(1.0, high), rate)  # rounding may pass a rate of 0 or 1


def expected_calibration_error(labels: Labels, probabilities: Floats) -> float:
    """Mean gap between confidence and accuracy over 15 bins of equal width.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3. A bin includes
    its upper bound, as in the paper.
    """
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    bins = np.clip(np.ceil(confidence * _BINS).astype(np.int64) - 1, 0, _BINS - 1)
    gaps = np.bincount(bins, weights=correct - confidence, minlength=_BINS)
    return float(np.abs(gaps).sum() / len(labels))


def negative_log_likelihood(labels: Labels, probabilities: Floats) -> float:
    """Mean negative log of the true class's probability, in nats, clipped at 1e-12."""
    true = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(true, SMALLEST_PROBABILITY)).mean())


def softmax(logits: Floats, temperature: float | Floats = 1.0) -> npt.NDArray[np.float64]:
    """Softmax over the last axis of ``logits / temperature``, in float64.

    ``temperature`` is one number, or one per row: ``(N, 1)``.
    """
    scaled = logits.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float64)
