"""Reliability: how often a model is right when it is so sure (Guo et al., ICML 2017, section 2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["BINS", "ReliabilityBin", "reliability_bins"]

BINS = 15
"""As many as ``fer_edge.evaluation.metrics.expected_calibration_error`` takes."""


@dataclass(frozen=True)
class ReliabilityBin:
    """Pictures whose confidence lies in (low, high]; the means are None where there are none."""

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


def reliability_bins(
    labels: npt.NDArray[np.int64], probabilities: npt.NDArray[np.floating]
) -> tuple[ReliabilityBin, ...]:
    """Sort pictures into 15 bins of confidence; labels ``(N,)``, probabilities ``(N, K)``.

    The weighted gaps between confidence and accuracy sum up to the expected calibration error.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    place = np.clip(np.ceil(probabilities.max(axis=1) * BINS).astype(np.int64) - 1, 0, BINS - 1)
    found = []
    for index in range(BINS):
        own = place == index
        any_there = bool(own.any())
        found.append(
            ReliabilityBin(
                index / BINS,
                (index + 1) / BINS,
                int(own.sum()),
                float(confidence[own].mean()) if any_there else None,
                float(right[own].mean()) if any_there else None,
            )
        )
    return tuple(found)
