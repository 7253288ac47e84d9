"""What INT8 must not be calibrated on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fer_calib.calibration import CalibrationSet, draw, load
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.errors import DataError
from fer_edge.evaluation import fer2013
from fer_edge.evaluation.fer2013 import LabelledCrops

COUNT = 14


def calibration_set(
    images: np.ndarray, labels: np.ndarray | None = None, names: tuple[str, ...] | None = None
) -> CalibrationSet:
    labels = np.arange(len(images)) % 7 if labels is None else labels
    names = names or tuple(f"train/sad/Training_{i}.jpg" for i in range(len(images)))
    return CalibrationSet(LabelledCrops(images, labels, names))


def test_a_drawn_set_is_accepted(tiny_fer2013: Path) -> None:
    draw(tiny_fer2013, COUNT).check(tiny_fer2013)


@pytest.mark.parametrize("count", [0, 6])
def test_too_few_crops_are_refused(count: int, drawings: np.ndarray) -> None:
    with pytest.raises(DataError, match=f"{count} crops are too few to calibrate on"):
        calibration_set(drawings[:count]).check()


def test_a_single_class_is_refused(drawings: np.ndarray) -> None:
    labels = np.full(COUNT, 3)
    with pytest.raises(DataError, match="all 14 calibration crops are happy"):
        calibration_set(drawings[:COUNT], labels).check()


@pytest.mark.parametrize(
    ("images", "came"),
    [
        (np.zeros((COUNT, 7, 48), np.uint8), r"uint8 \(14, 7, 48\)"),
        (np.zeros((COUNT, 48, 48, 1), np.uint8), r"uint8 \(14, 48, 48, 1\)"),
        (np.zeros((COUNT, 48, 48), np.float32), r"float32 \(14, 48, 48\)"),
    ],
)
def test_what_are_no_pictures_is_refused(images: np.ndarray, came: str) -> None:
    with pytest.raises(DataError, match=rf"uint8 \(14, H, W\) .*, not {came}"):
        calibration_set(images).check()


@pytest.mark.parametrize(
    "name", ["test/fear/PublicTest_3.jpg", "PrivateTest_88.png", "x.zip:test/sad/PublicTest_1.jpg"]
)
def test_a_picture_that_is_named_as_a_test_picture_is_refused(
    name: str, drawings: np.ndarray
) -> None:
    names = (*(f"Training_{i}" for i in range(COUNT - 1)), name)
    with pytest.raises(DataError, match="1 calibration crops are test pictures"):
        calibration_set(drawings[:COUNT], names=names).check()


def test_a_copy_of_a_test_picture_is_refused_whatever_its_name(
    tiny_fer2013: Path, drawings: np.ndarray
) -> None:
    images = drawings[-COUNT:].copy()
    images[5] = fer2013.load(tiny_fer2013, "test").images[2]
    chosen = calibration_set(images)
    chosen.check()
    with pytest.raises(DataError, match=r"1 calibration crops are also in .*Training_5.jpg"):
        chosen.check(tiny_fer2013)


def test_data_without_a_test_split_overlaps_nothing(tmp_path: Path, drawings: np.ndarray) -> None:
    rows = [f"{i % 7},{' '.join(map(str, drawings[i].ravel()))},Training" for i in range(COUNT)]
    table = tmp_path / "fer2013.csv"
    table.write_text("\n".join(["emotion,pixels,Usage", *rows]))
    calibration_set(drawings[:COUNT]).check(table)


def test_no_model_is_calibrated_on_what_is_refused(
    drawings: np.ndarray, tiny_spec: ModelSpec
) -> None:
    with pytest.raises(DataError, match="all 14 calibration crops are angry"):
        calibration_set(drawings[:COUNT], np.zeros(COUNT, np.int64)).for_model(tiny_spec)


def test_names_survive_a_file_so_that_they_can_be_refused(
    tmp_path: Path, drawings: np.ndarray
) -> None:
    names = tuple(f"PublicTest_{i}" for i in range(COUNT))
    calibration_set(drawings[:COUNT], names=names).save(tmp_path / "calib.npz")
    with pytest.raises(DataError, match="14 calibration crops are test pictures"):
        load(tmp_path / "calib.npz").check()
