"""Crops that are files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from made_pictures import jpeg_with_exif, tiff

from fer_edge import InputError, Prediction, Predictor
from fer_edge.images.synthetic import synthetic_crops

Image = npt.NDArray[np.uint8]


def table(predictions: list[Prediction]) -> npt.NDArray[np.float32]:
    return np.stack([prediction.probabilities for prediction in predictions])


def picture(path: Path, pixels: Image) -> Path:
    assert cv2.imwrite(str(path), pixels)
    return path


@pytest.mark.parametrize("kind", [str, Path])
def test_a_file_gives_what_its_pixels_give(
    fer: Predictor, crops: list[Image], tmp_path: Path, kind: type
) -> None:
    path = picture(tmp_path / "face.png", crops[0])
    assert np.array_equal(table([fer.predict(kind(path))]), table([fer.predict(crops[0])]))


def test_the_channels_of_a_file_are_known(
    rgb_artifact: Path, crops: list[Image], tmp_path: Path
) -> None:
    path = picture(tmp_path / "face.png", crops[0])
    with Predictor(rgb_artifact) as bgr, Predictor(rgb_artifact, color="rgb") as rgb:
        assert np.array_equal(table([bgr.predict(path)]), table([rgb.predict(path)]))


def test_a_file_is_turned_as_its_exif_says(fer: Predictor, tmp_path: Path) -> None:
    upright = synthetic_crops(1)[0]
    _, encoded = cv2.imencode(".jpg", upright[:, ::-1])
    path = tmp_path / "mirrored.jpg"
    path.write_bytes(jpeg_with_exif(encoded.tobytes(), tiff(2)))
    stored = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert np.array_equal(table([fer.predict(path)]), table([fer.predict(stored[:, ::-1])]))


def test_a_batch_may_mix_files_and_pixels(
    fer: Predictor, crops: list[Image], tmp_path: Path
) -> None:
    path = picture(tmp_path / "face.png", crops[0])
    mixed = table(fer.predict_batch([crops[1], path, str(path)]))
    assert np.array_equal(mixed, table(fer.predict_batch([crops[1], crops[0], crops[0]])))


def missing(folder: Path) -> Path:
    return folder / "missing.jpg"


def small(folder: Path) -> Path:
    return picture(folder / "small.png", np.zeros((5, 48), np.uint8))


UNREADABLE = [
    pytest.param(missing, "there is no picture", id="missing"),
    pytest.param(small, "at least 8 x 8 pixels, not height 5 and width 48", id="too small"),
]


@pytest.mark.parametrize(("make", "message"), UNREADABLE)
def test_a_file_that_is_no_crop_is_refused(
    fer: Predictor, tmp_path: Path, make: Callable[[Path], Path], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        fer.predict(make(tmp_path))
    assert caught.value.index is None


@pytest.mark.parametrize(("make", "message"), UNREADABLE)
def test_in_a_batch_a_file_that_is_no_crop_is_named(
    double: Any,
    tmp_path: Path,
    make: Callable[[Path], Path],
    message: str,
    gray: Callable[[int], Image],
) -> None:
    with pytest.raises(InputError, match=f"^crop 2 of the batch: .*{message}") as caught:
        Predictor(backend=double).predict_batch([gray(1), gray(2), make(tmp_path)])
    assert caught.value.index == 2
    assert double.batches == []
