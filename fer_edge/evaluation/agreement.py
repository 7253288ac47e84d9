"""Two models on the same pictures: how far their answers differ, and which is right more often.

Probabilities are float ``(N, K)``, one row per picture; masks of right answers are bool ``(N,)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fer_edge.evaluation.metrics import SMALLEST_PROBABILITY, Z_95

Floats = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Agreement:
    """How far a model's answers are from those of a reference.

    ``top1`` is the share of equal answers, ``mean_kl`` the mean Kullback-Leibler divergence of the
    model's probabilities from the reference's in nats, and ``max_difference`` the largest
    difference of a single probability. They are NaN where an answer is NaN.
    """

    top1: float
    mean_kl: float
    max_difference: float


@dataclass(frozen=True)
class PairedDifference:
    """How the accuracies of two models differ on the same ``n`` pictures.

    ``only_first`` pictures are answered right by the first model alone, ``only_second`` by the
    second alone. ``difference`` is the first accuracy minus the second, as a fraction of 1, with
    its 95 % interval; ``p_value`` is that of McNemar's exact test.
    """

    n: int
    only_first: int
    only_second: int
    p_value: float
    difference: float
    difference_ci95: tuple[float, float]


def agreement(expected: Floats, given: Floats, *, tie: float = 0.0) -> Agreement:
    """Compare ``given`` with the reference's probabilities ``expected``, both ``(N, K)``.

    ``tie`` is explained in ``same_answers``. Raises ValueError for shapes that differ, and for no
    pictures at all.
    """
    if expected.shape != given.shape or not len(expected):
        raise ValueError(
            f"expected probabilities of one shape (N, K) with N > 0, not {expected.shape} and "
            f"{given.shape}"
        )
    return Agreement(
        top1=float(same_answers(expected, given, tie=tie).mean()),
        mean_kl=mean_kl_divergence(expected, given),
        max_difference=max_difference(expected, given),
    )


def same_answers(expected: Floats, given: Floats, *, tie: float = 0.0) -> Bools:
    """Which pictures get the same answer; bool ``(N,)``.

    An answer is the same if the reference gives it its highest probability, or one that is lower
    by ``tie`` at most. NaN is never the same answer.
    """
    chosen = given.argmax(axis=1)[:, None]
    reached = np.take_along_axis(expected, chosen, axis=1)[:, 0]
    known = ~np.isnan(given).any(axis=1)
    return np.asarray(known & (reached >= expected.max(axis=1) - tie), np.bool_)


def mean_kl_divergence(expected: Floats, given: Floats) -> float:
    """Mean of KL(expected || given) over the rows, in nats, 0 or more.

    Probabilities are clipped at 1e-12 from below. NaN stays NaN.
    """
    p = np.maximum(expected.astype(np.float64), SMALLEST_PROBABILITY)
    q = np.maximum(given.astype(np.float64), SMALLEST_PROBABILITY)
    return float(np.maximum((p * np.log(p / q)).sum(axis=1).mean(), 0))


def max_difference(expected: Floats, given: Floats) -> float:
    """Largest absolute difference of two arrays of one shape. NaN stays NaN."""
    return float(np.abs(expected.astype(np.float64) - given).max())


def paired_difference(first: Bools, second: Bools) -> PairedDifference:
    """Compare the masks of right answers of two models on the same pictures."""
    only_first, only_second = discordant(first, second)
    n = len(first)
    return PairedDifference(
        n=n,
        only_first=only_first,
        only_second=only_second,
        p_value=mcnemar(only_first, only_second),
        difference=(only_first - only_second) / n,
        difference_ci95=paired_difference_interval(only_first, only_second, n),
    )


def discordant(first: Bools, second: Bools) -> tuple[int, int]:
    """Count the pictures that the first model alone answers right, and the second alone.

    Raises ValueError unless the masks have one shape ``(N,)`` with N > 0.
    """
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise ValueError(
            f"expected two masks of one shape (N,) with N > 0, not {first.shape} and {second.shape}"
        )
    return int((first & ~second).sum()), int((second & ~first).sum())


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p of McNemar's exact test (1947, Psychometrika 12:153).

    It is the probability of a split of the discordant pictures at least as uneven as this one,
    if both models were equally good.
    """
    n, least = only_first + only_second, min(only_first, only_second)
    tail = sum(math.comb(n, k) for k in range(least + 1))
    return min(1.0, 2 * tail / (1 << n))


def paired_difference_interval(only_first: int, only_second: int, n: int) -> tuple[float, float]:
    """Two-sided 95 % interval of the first rate minus the second, both on the same ``n`` trials.

    ``only_first`` and ``only_second`` count the trials where only that one succeeded. This is the
    adjusted Wald interval (Bonett and Price 2012, J. Educational and Behavioral Statistics 37:479).
    """
    first, second = (only_first + 1) / (n + 2), (only_second + 1) / (n + 2)
    difference = first - second
    half = Z_95 * math.sqrt((first + second - difference**2) / (n + 2))
    return max(-1.0, difference - half), min(1.0, difference + half)
