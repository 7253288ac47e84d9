"""The pictures of a training."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from fer_edge.evaluation.fer2013 import LabelledCrops
from fer_train.assessment import read_report
from fer_train.plots import draw_confusion, draw_curves, draw_errors


def levels_of(path: Path) -> set[int]:
    """Gray levels that fill some area of a picture."""
    levels, counts = np.unique(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), return_counts=True)
    return {int(level) for level, count in zip(levels, counts, strict=True) if count > 2000}


def test_errors_show_mistakes_alone_and_the_most_confident_first(tmp_path: Path) -> None:
    """Each picture has a gray level of its own; 40 of 42 are wrong, and 32 have room."""
    count = 42
    images = np.arange(10, 10 + 5 * count, 5, dtype=np.uint8)[:, None, None].repeat(48, 1)
    crops = LabelledCrops(
        images.repeat(48, 2), np.zeros(count, np.int64), tuple(map(str, range(count)))
    )
    probabilities = np.full((count, 7), 0.01)
    probabilities[:, 3] = np.linspace(0.9, 0.5, count)
    probabilities[[0, 1], 0] = 1.0
    draw_errors(crops, probabilities, tmp_path / "errors.png")
    shown = {5 * round(level / 5) for level in levels_of(tmp_path / "errors.png")} - {255}
    assert shown == {10 + 5 * number for number in range(2, 34)}


def test_without_mistakes_there_is_an_empty_sheet(tmp_path: Path) -> None:
    crops = LabelledCrops(np.zeros((3, 48, 48), np.uint8), np.zeros(3, np.int64), ("a", "b", "c"))
    draw_errors(crops, np.eye(7)[[0, 0, 0]], tmp_path / "errors.png")
    assert levels_of(tmp_path / "errors.png") == {255}


def test_curves_and_confusion_are_drawn_from_what_a_run_left(root: Path, tmp_path: Path) -> None:
    weights = root / "train" / "weights"
    draw_curves(weights / "mobilenet.metrics.jsonl", tmp_path / "curves.png")
    draw_confusion(read_report(weights / "mobilenet.json"), tmp_path / "confusion.png")
    for name in ("curves.png", "confusion.png"):
        picture = cv2.imread(str(tmp_path / name))
        assert picture is not None
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 10
