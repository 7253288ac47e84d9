"""The reliability diagrams of accuracy results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fer_bench.measure_accuracy import AccuracyResult
from fer_edge.system.dependencies import requires
from fer_edge.system.files import atomic_path

__all__ = ["draw_reliability"]


def draw_reliability(results: Sequence[AccuracyResult], path: Path) -> None:
    """Draw a panel per model as PNG: accuracy by confidence, and how many pictures."""
    with requires("bench"):
        from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(results), 4.6), layout="constrained")
    for place, result in enumerate(results):
        axes = figure.add_subplot(1, len(results), place + 1)
        bins = [entry for entry in result.reliability if entry.count]
        most = max(entry.count for entry in bins)
        for entry in bins:
            width = entry.high - entry.low
            axes.bar(entry.low, entry.accuracy or 0, width, align="edge", color="#4c78a8")
            share = 0.2 * entry.count / most
            axes.bar(entry.low, share, width, align="edge", color="#f2b447", alpha=0.8)
        axes.plot([0, 1], [0, 1], "--", color="0.4", linewidth=1)
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="accuracy")
        axes.set_title(f"{result.model}\n{result.backend}, ECE {result.ece:.3f}", fontsize=9)
    figure.supxlabel("blue: share of right answers; yellow: pictures per bin", fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
