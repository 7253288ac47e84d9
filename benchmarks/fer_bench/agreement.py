"""Two models on the same pictures: who is right where the other is not, and how far they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from fer_edge.evaluation import metrics

__all__ = ["Agreement", "PairedTest", "agreement", "bits", "paired_test", "paired_tests", "unbits"]

Floats = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Agreement:
    """A model against a reference on the same pictures.

    ``top1`` is the share of equal answers, ``mean_kl`` the mean Kullback-Leibler divergence of the
    model's probabilities from the reference's, in nats, ``max_difference`` the largest gap of one
    probability.
    """

    reference: str
    top1: float
    mean_kl: float
    max_difference: float


@dataclass(frozen=True)
class PairedTest:
    """McNemar's exact test of two models on the same ``n`` pictures.

    ``difference`` is the accuracy of ``first`` minus that of ``second``.
    """

    first: str
    second: str
    n: int
    only_first: int
    only_second: int
    p_value: float
    difference: float
    difference_ci95: tuple[float, ...]


def agreement(name: str, reference: Floats, probabilities: Floats) -> Agreement:
    """Compare probabilities, both ``(N, K)``; KL(reference || model), terms below 1e-12 cut."""
    return Agreement(
        name,
        float((reference.argmax(axis=1) == probabilities.argmax(axis=1)).mean()),
        metrics.mean_kl_divergence(reference, probabilities),
        float(np.abs(reference.astype(np.float64) - probabilities).max()),
    )


def paired_test(first: str, second: str, right: Bools, other: Bools) -> PairedTest:
    """Test whether two models are right equally often; answers are bool ``(N,)``, true if right."""
    if right.shape != other.shape or not len(right):
        raise ValueError(f"expected as many answers of both, not {right.shape} and {other.shape}")
    only_first, only_second = int((right & ~other).sum()), int((other & ~right).sum())
    n = len(right)
    return PairedTest(
        first,
        second,
        n,
        only_first,
        only_second,
        metrics.mcnemar(only_first, only_second),
        (only_first - only_second) / n,
        metrics.paired_difference_interval(only_first, only_second, n),
    )


def paired_tests(names: Sequence[str], right: Sequence[Bools]) -> list[PairedTest]:
    """Every pair."""
    return [
        paired_test(names[i], names[j], right[i], right[j])
        for i, j in combinations(range(len(names)), 2)
    ]


def bits(mask: Bools) -> str:
    """A mask as hexadecimal text, eight pictures a byte, the first in the highest bit."""
    return np.packbits(mask).tobytes().hex()


def unbits(text: str, n: int) -> Bools:
    """A mask of ``n`` from its text. Raises ValueError for a text of another length."""
    packed = np.frombuffer(bytes.fromhex(text), np.uint8)
    if len(packed) != -(-n // 8):
        raise ValueError(f"{len(packed)} bytes do not hold {n} answers")
    return np.unpackbits(packed, count=n).astype(bool)
