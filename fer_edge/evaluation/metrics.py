"""Classification metrics over labels and probabilities, in numpy.

Labels are int64 ``(N,)``; probabilities float ``(N, K)``, rows with the sum 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = [
    "ClassScores",
    "Scores",
    "class_scores",
    "confusion_matrix",
    "expected_calibration_error",
    "mcnemar",
    "mean_kl_divergence",
    "negative_log_likelihood",
    "paired_difference_interval",
    "score",
    "softmax",
    "wilson_interval",
]

Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating]

_Z_95 = 1.959963984540054
_BINS = 15
_SMALLEST_PROBABILITY = 1e-12


@dataclass(frozen=True)
class ClassScores:
    """Precision, recall and F1 of one class; ``support`` counts its pictures.

    A ratio without a denominator is 0.
    """

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Scores:
    """Accuracy with its 95 % interval, and what stands beside it. Rates are fractions of 1."""

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

    Raises ValueError for an empty set, shapes that do not match, or what is not a number.
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
    rate, z2 = successes / trials, _Z_95**2
    centre = rate + z2 / (2 * trials)
    spread = _Z_95 * math.sqrt(rate * (1 - rate) / trials + z2 / (4 * trials**2))
    scale = 1 + z2 / trials
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def paired_difference_interval(only_first: int, only_second: int, n: int) -> tuple[float, float]:
    """Two-sided 95 % interval of the first rate minus the second, both on the same ``n`` trials.

    ``only_first`` and ``only_second`` count the trials where only that one succeeded. Adjusted
    Wald interval (Bonett and Price 2012, J. Educational and Behavioral Statistics 37:479).
    """
    first, second = (only_first + 1) / (n + 2), (only_second + 1) / (n + 2)
    difference = first - second
    half = _Z_95 * math.sqrt((first + second - difference**2) / (n + 2))
    return max(-1.0, difference - half), min(1.0, difference + half)


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p of McNemar's exact test (1947, Psychometrika 12:153).

    How probable a split of the discordant pairs at least as uneven is, were both equally good.
    """
    n, least = only_first + only_second, min(only_first, only_second)
    tail = sum(math.comb(n, k) for k in range(least + 1))
    return min(1.0, 2 * tail / (1 << n))


def expected_calibration_error(labels: Labels, probabilities: Floats) -> float:
    """Mean gap between confidence and accuracy over 15 bins of equal width.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3; as there, a
    bin holds its upper bound.
    """
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    bins = np.clip(np.ceil(confidence * _BINS).astype(np.int64) - 1, 0, _BINS - 1)
    gaps = np.bincount(bins, weights=correct - confidence, minlength=_BINS)
    return float(np.abs(gaps).sum() / len(labels))


def negative_log_likelihood(labels: Labels, probabilities: Floats) -> float:
    """Mean negative log of the true class's probability, in nats; one below 1e-12 counts so."""
    true = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(true, _SMALLEST_PROBABILITY)).mean())


def mean_kl_divergence(expected: Floats, given: Floats) -> float:
    """Mean of KL(expected || given) over rows of probabilities ``(N, K)``, in nats, 0 or more.

    Probabilities below 1e-12 count so; NaN stays NaN.
    """
    p = np.maximum(expected.astype(np.float64), _SMALLEST_PROBABILITY)
    q = np.maximum(given.astype(np.float64), _SMALLEST_PROBABILITY)
    return float(np.maximum((p * np.log(p / q)).sum(axis=1).mean(), 0))


def softmax(logits: Floats, temperature: float | Floats = 1.0) -> npt.NDArray[np.float64]:
    """Softmax over the last axis of ``logits / temperature``, in float64.

    ``temperature`` is one for all, or ``(N, 1)``.
    """
    scaled = logits.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float64)
