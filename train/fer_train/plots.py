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
    side = crops.images.shape[1]
    cell, above = round(1.3 * side), round(0.5 * side)  # room for two lines over each picture
    sheet = np.full((_ERROR_ROWS * (side + above), _ERROR_COLUMNS * cell, 3), 255, np.uint8)
    figure = Figure(figsize=(1.5 * _ERROR_COLUMNS, 1.7 * _ERROR_ROWS), layout="constrained")
    axes = figure.subplots()
    for place, number in enumerate(worst):
        row, column = divmod(place, _ERROR_COLUMNS)
        top, left = row * (side + above) + above, column * cell
        sheet[top : top + side, left : left + side] = _as_rgb(crops.images[number], side)
        said, label = crops.classes[predicted[number]], crops.classes[crops.labels[number]]
        caption = f"{said} {confidence[number]:.0%}\nlabel: {label}"
        axes.text(left, top - 2, caption, fontsize=8, va="bottom")
    axes.imshow(sheet)
    axes.axis("off")
    _save(figure, target)


def _as_rgb(image: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """A gray or BGR picture as RGB, in a square of ``side``."""
    is_gray = image.ndim == 2  # noqa: PLR2004 - no channels
    rgb = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB if is_gray else cv2.COLOR_BGR2RGB)
    return np.asarray(cv2.resize(rgb, (side, side)), np.uint8)


def _plot(axes: object, lines: Iterable[Epoch], field: str, label: str, scale: float = 1) -> None:
    points = [(line.epoch, getattr(line, field)) for line in lines]
    measured = [(epoch, scale * value) for epoch, value in points if value is not None]
    epochs, values = [epoch for epoch, _ in measured], [value for _, value in measured]
    axes.plot(epochs, values, label=label)  # type: ignore[attr-defined]


def _save(figure: Figure, target: Path) -> None:
    with atomic_path(target) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI)
