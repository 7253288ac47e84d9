"""Reliability: accuracy by confidence (Guo et al., ICML 2017, section 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fer_edge.system.dependencies import requires
from fer_edge.system.files import atomic_path

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

    The gaps between confidence and accuracy, weighted by count, sum up to the expected calibration
    error.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    place = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    found = []
    for index in range(BINS):
        own = place == index
        means: tuple[float | None, float | None] = (None, None)
        if own.any():
            means = float(confidence[own].mean(dtype=np.float64)), float(right[own].mean())
        found.append(ReliabilityBin(index / BINS, (index + 1) / BINS, int(own.sum()), *means))
    return tuple(found)


def draw_reliability(panels: Sequence[tuple[str, Sequence[ReliabilityBin]]], path: Path) -> None:
    """Draw panels, each with its title, as PNG: accuracy by confidence, and how many pictures.

    Raises MissingDependencyError without matplotlib.
    """
    with requires("bench"):
        from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(panels), 4.6), layout="constrained")
    for place, (title, bins) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), place + 1)
        most = max(entry.count for entry in bins)
        for entry in (entry for entry in bins if entry.count):
            width, share = entry.high - entry.low, 0.2 * entry.count / most
            axes.bar(entry.low, entry.accuracy or 0, width, align="edge", color="#4c78a8")
            axes.bar(entry.low, share, width, align="edge", color="#f2b447", alpha=0.8)
        axes.plot([0, 1], [0, 1], "--", color="0.4", linewidth=1)
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="accuracy")
        axes.set_title(title, fontsize=9)
    figure.supxlabel("blue: share of right answers; yellow: pictures per bin", fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
