"""Accuracy through detection and cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fer_edge import Face, FaceDetector, Predictor
from fer_edge.evaluation.fer2013 import LabelledCrops
from pages.margins import MARGINS, measure_margins, table

PICTURE, SURROUND = 192, 96


class Centred(FaceDetector):
    """Finds each picture where ``scene`` puts it, but for the first ``misses`` frames."""

    def __init__(self, misses: int = 0) -> None:
        self._misses = misses

    @property
    def name(self) -> str:
        return "centred"

    def detect(self, frame: np.ndarray) -> list[Face]:
        self._misses -= 1
        return [] if self._misses >= 0 else [Face((SURROUND, SURROUND, PICTURE, PICTURE), 1.0)]


@pytest.fixture
def crops() -> LabelledCrops:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 48, 48), np.uint8)
    return LabelledCrops(images, rng.integers(0, 7, 12), tuple("abcdefghijkl"))


def test_a_cut_at_the_picture_is_the_picture(crops: LabelledCrops, tiny_artifact: Path) -> None:
    with Predictor(tiny_artifact) as fer:
        results = measure_margins(crops, [Centred()], fer)
        said = [p.emotion.class_index for p in fer.predict_batch(list(crops.images))]
    by_margin = {result.margin: result for result in results}
    assert by_margin[None].accuracy == np.mean(np.array(said) == crops.labels)
    assert [result.margin for result in results] == [None, *MARGINS]
    assert {result.n for result in results} == {12}


def test_only_found_faces_count(crops: LabelledCrops, tiny_artifact: Path) -> None:
    with Predictor(tiny_artifact) as fer:
        results = measure_margins(crops, [Centred(misses=5)], fer)
        said = [p.emotion.class_index for p in fer.predict_batch(list(crops.images[5:]))]
    assert {result.n for result in results} == {7}
    assert results[0].accuracy == np.mean(np.array(said) == crops.labels[5:])


def test_the_table_marks_the_best_margin(crops: LabelledCrops, tiny_artifact: Path) -> None:
    with Predictor(tiny_artifact) as fer:
        results = measure_margins(crops, [Centred()], fer)
    row = table(results).splitlines()[-1]
    best = max(result.accuracy for result in results[1:])
    assert row.startswith("| centred | 12 |")
    assert f"**{best:.1%}**" in row
