"""What the quick way of shrinking a crop costs in accuracy: nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from fer_edge import Predictor
from fer_edge.evaluation.fer2013 import load
from fer_edge.images.preprocess import preprocess

Image = npt.NDArray[np.uint8]

SIDES = (110, 150, 181, 203, 300, 401)
EVERY = 8
"""Pictures are sorted by class."""

CAMERA_NOISE = 4.0
"""Standard deviation, in levels."""


@pytest.fixture(scope="module")
def fer() -> Predictor:
    return Predictor("mobilenet", precision="fp32", backend="onnxruntime")


def test_enlarged_faces_are_told_as_well_as_after_exact_averaging(
    fer: Predictor, fer2013_archive: Path
) -> None:
    crops = load(fer2013_archive, "public-test")
    labels = np.tile(crops.labels[::EVERY], len(SIDES))
    cv2.setRNGSeed(0)
    enlarged = [
        as_a_camera_sees(picture.reshape(48, 48), side)
        for side in SIDES
        for picture in crops.images[::EVERY]
    ]

    def right(shrink: Callable[[Image], Image]) -> npt.NDArray[np.bool_]:
        tensor = np.stack([shrink(picture) for picture in enlarged]).reshape(-1, 48, 48, 1)
        parts = np.array_split(tensor, len(tensor) // 256)
        answers = [fer.predict_tensor(part)[1].argmax(axis=1) for part in parts]
        return np.concatenate(answers) == labels

    def ours(picture: Image) -> Image:
        row = np.empty((48, 48, 1), np.uint8)
        preprocess(picture, fer.info.spec.input, row)
        return row

    def exact(picture: Image) -> Image:
        return np.asarray(cv2.resize(picture, (48, 48), interpolation=cv2.INTER_AREA), np.uint8)

    def aliased(picture: Image) -> Image:
        return np.asarray(cv2.resize(picture, (48, 48), interpolation=cv2.INTER_NEAREST), np.uint8)

    accuracy = {way.__name__: float(right(way).mean()) for way in (ours, exact, aliased)}
    assert accuracy["ours"] > accuracy["exact"] - 0.005, accuracy
    assert accuracy["aliased"] < accuracy["ours"] - 0.005, accuracy


def as_a_camera_sees(picture: Image, side: int) -> Image:
    """Enlarge, and add the noise of a sensor."""
    large = cv2.resize(picture, (side, side), interpolation=cv2.INTER_CUBIC)
    noise = cv2.randn(np.empty(large.shape, np.int16), 0, CAMERA_NOISE)
    return np.asarray(cv2.add(large, noise, dtype=cv2.CV_8U), np.uint8)
