"""Plots: accuracy against latency, one dot per (model, backend, precision), and reliability."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_bench.comparison import Dot
from fer_bench.measure_accuracy import ReliabilityBin
from fer_edge.system.dependencies import requires
from fer_edge.system.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLORS = {
    "onnxruntime": "#4c78a8",
    "openvino": "#54a24b",
    "tensorrt": "#76b900",
    "torch": "#e45756",
    "litert": "#f2a93b",
}
_OTHER = "#8c6bb1"
_WIDE = 20  # from there on the axis is logarithmic


def draw_plot(dots: Sequence[Dot], path: Path, *, subtitle: str = "") -> None:
    """Draw one dot or more, accuracy against latency, as PNG; latency alone without accuracies.

    Dots without an accuracy are marks at the foot. Raises MissingDependencyError without
    matplotlib.
    """
    with requires("bench"):
        from matplotlib.figure import Figure

    known = [dot for dot in dots if dot.accuracy is not None]
    height = 5.6 if known else 1.4 + 0.34 * len(dots)
    figure = Figure(figsize=(10, height), layout="constrained")
    axes = figure.add_subplot()
    if known:
        _draw_accuracies(axes, known)
        _draw_marks(axes, [dot for dot in dots if dot.accuracy is None])
    else:
        _draw_latencies(axes, dots)
    axes.margins(0.12)
    times = [dot.latency_ms for dot in dots]
    wide = max(times) > _WIDE * min(times)
    if wide:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
    else:
        axes.set_xlim(left=0)
    axes.set_xlabel(f"latency of one crop, p50, ms{' (log)' if wide else ''}")
    axes.grid(visible=True, which="major", color="0.92", zorder=0)
    title = "Accuracy against latency" if known else "Latency"
    axes.set_title(f"{title}\n{subtitle}" if subtitle else title)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)


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


def _draw_accuracies(axes: Axes, known: Sequence[Dot]) -> None:
    """Dots with letters that the legend explains, as names would overlap."""
    for place, dot in enumerate(known):
        letter = f"{chr(ord('A') + place % 26)}{place // 26 or ''}"
        accuracy = dot.accuracy or 0
        _, _, intervals = axes.errorbar(
            dot.latency_ms,
            100 * accuracy,
            xerr=_reach(dot.latency_ms, dot.latency_ci95),
            yerr=_reach(100 * accuracy, [100 * end for end in dot.accuracy_ci95 or ()]),
            markersize=12,
            markeredgecolor="black" if dot.on_front else "white",
            markeredgewidth=1.6 if dot.on_front else 0.8,
            elinewidth=0.8,
            zorder=3 + place,
            label=f"{letter}  {_label(dot)}",
            **_style(dot),
        )
        for interval in intervals:
            interval.set_zorder(2)
        axes.annotate(
            letter,
            (dot.latency_ms, 100 * accuracy),
            ha="center",
            va="center_baseline",
            fontsize=7,
            fontweight="bold",
            color="white",
            zorder=3.5 + place,
        )
    front = sorted((d.latency_ms, 100 * (d.accuracy or 0)) for d in known if d.on_front)
    axes.step(
        [latency for latency, _ in front],
        [accuracy for _, accuracy in front],
        where="post",
        color="0.35",
        linewidth=1,
        linestyle="--",
        label="Pareto front",
        zorder=1,
    )
    axes.legend(
        loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8, frameon=False, labelspacing=1
    )
    splits = sorted({dot.split for dot in known if dot.split})
    axes.set_ylabel(f"accuracy on {', '.join(splits)}, %")


def _draw_latencies(axes: Axes, dots: Sequence[Dot]) -> None:
    """One line for each dot, with its interval, the fastest on top."""
    for place, dot in enumerate(dots):
        reach = _reach(dot.latency_ms, dot.latency_ci95)
        axes.errorbar(dot.latency_ms, -place, xerr=reach, markersize=8, capsize=3, **_style(dot))
    axes.set_yticks([-place for place in range(len(dots))], [_label(dot) for dot in dots])


def _draw_marks(axes: Axes, without: Sequence[Dot]) -> None:
    for dot in without:
        axes.axvline(dot.latency_ms, ymax=0.06, color=_style(dot)["color"], linewidth=2)
        axes.annotate(
            f"{_label(dot)} (accuracy not measured)",
            (dot.latency_ms, 0.07),
            xycoords=axes.get_xaxis_transform(),
            rotation=90,
            ha="center",
            va="bottom",
            fontsize=7,
            color="0.35",
        )


def _label(dot: Dot) -> str:
    return f"{dot.row.model}, {dot.row.backend}, {dot.row.precisions}"


def _style(dot: Dot) -> dict[str, Any]:
    marker = "o" if dot.row.kind == "model" else "s"
    return {"fmt": marker, "color": _COLORS.get(dot.row.backend, _OTHER)}


def _reach(value: float, interval: Sequence[float] | None) -> list[list[float]]:
    """How far an interval goes below and above the value, as error bars take it."""
    low, high = interval or (value, value)
    return [[max(0.0, value - low)], [max(0.0, high - value)]]
