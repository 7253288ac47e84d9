"""The pictures of a training: its curves and its confusion matrix."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from fer_edge.evaluation.fer2013 import LabelledCrops
from fer_edge.system.files import atomic_path
from fer_train.assessment import Report
from fer_train.journal import Epoch, read_journal

mpl.use("agg")
_DPI = 120
_ERROR_ROWS, _ERROR_COLUMNS = 4, 8
_ERROR_WIDTH, _ERROR_HEIGHT = 1.3, 1.5
"""Of the room for a picture of 1 x 1, with two lines above it."""


def draw_curves(metrics: Path, target: Path) -> None:
    """Plot loss and accuracy over epochs, from ``metrics.jsonl``.

    Raises ArtifactError for a journal that cannot be read.
    """
    lines = read_journal(metrics)
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    _plot(loss, lines, "train_loss", "train, augmented")
    _plot(loss, lines, "public_test_nll", "public-test")
    loss.set(xlabel="epoch", ylabel="loss, nats")
    _plot(accuracy, lines, "train_accuracy", "train, augmented", scale=100)
    _plot(accuracy, lines, "public_test_accuracy", "public-test", scale=100)
    accuracy.set(xlabel="epoch", ylabel="accuracy, %")
    for axes in (loss, accuracy):
        axes.grid(alpha=0.3)
        axes.legend()
    _save(figure, target)


def draw_confusion(report: Report, target: Path) -> None:
    """Draw the confusion matrix, each row in percent of its true class."""
    counts = np.array(report.scores.confusion, np.float64)
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(5.4, 5), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    for (row, column), share in np.ndenumerate(shares):
        dark = share > 50  # noqa: PLR2004 - half of the colour scale
        axes.text(column, row, f"{share:.0f}", ha="center", va="center", color="w" if dark else "k")
    names = tuple(report.scores.per_class)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    low, high = report.scores.accuracy_ci95
    axes.set(
        xlabel="predicted",
        ylabel="true, % of the row",
        title=f"{report.split}: {report.scores.accuracy:.1%} [{low:.1%}, {high:.1%}]",
    )
    _save(figure, target)


def draw_errors(
    crops: LabelledCrops, probabilities: npt.NDArray[np.floating], target: Path
) -> None:
    """Draw the most confident mistakes, each with what was predicted and what its label says.

    The picture shows crops of the data set: it is for whoever has the data, not for publication.
    """
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != crops.labels)
    worst = wrong[np.argsort(-confidence[wrong])][: _ERROR_ROWS * _ERROR_COLUMNS]
    figure = Figure(figsize=(1.5 * _ERROR_COLUMNS, 1.7 * _ERROR_ROWS), layout="constrained")
    axes = figure.subplots()
    for place, number in enumerate(worst):
        row, column = divmod(place, _ERROR_COLUMNS)
        left, top = column * _ERROR_WIDTH, -row * _ERROR_HEIGHT
        image = crops.images[number]
        is_gray = image.ndim == 2  # noqa: PLR2004 - no channels
        rgb = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB if is_gray else cv2.COLOR_BGR2RGB)
        axes.imshow(rgb, extent=(left, left + 1, top - 1, top))
        said, label = crops.classes[predicted[number]], crops.classes[crops.labels[number]]
        caption = f"{said} {confidence[number]:.0%}\nlabel: {label}"
        axes.text(left, top + 0.04, caption, fontsize=8)
    lowest = 0.5 - _ERROR_ROWS * _ERROR_HEIGHT
    axes.set(xlim=(0, _ERROR_COLUMNS * _ERROR_WIDTH), ylim=(lowest, 0.5))
    axes.axis("off")
    _save(figure, target)


def _plot(axes: object, lines: Iterable[Epoch], field: str, label: str, scale: float = 1) -> None:
    measured = [line for line in lines if getattr(line, field) is not None]
    values = [scale * getattr(line, field) for line in measured]
    axes.plot([line.epoch for line in measured], values, label=label)  # type: ignore[attr-defined]


def _save(figure: Figure, target: Path) -> None:
    with atomic_path(target) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI)
