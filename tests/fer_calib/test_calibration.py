"""Calibration sets: what is drawn, and that damage is noticed."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import pytest

from fer_calib.calibration import CalibrationSet, draw, load
from fer_calib.cli import main
from fer_edge import LABELS
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.errors import ConfigurationError, DataError
from fer_edge.evaluation import fer2013
from fer_edge.evaluation.fer2013 import LabelledCrops, copies_of

MakeData: TypeAlias = Callable[[Path, int, int], Path]


@pytest.fixture
def drawn(tiny_fer2013: Path) -> CalibrationSet:
    return draw(tiny_fer2013, 14)


@pytest.fixture
def saved(drawn: CalibrationSet, tmp_path: Path) -> Path:
    drawn.save(tmp_path / "calib.npz")
    return tmp_path / "calib.npz"


def rewrite(path: Path, **changes: Any) -> None:
    with np.load(path) as archive:
        arrays = {**archive, **changes}
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})


@pytest.fixture
def folder(tiny_fer2013: Path, tmp_path: Path) -> Path:
    """The drawings as a folder, 4 training and 3 public-test pictures per class."""
    for split, usage, half in (
        ("train", "Training", "train"),
        ("public-test", "PublicTest", "test"),
    ):
        crops = fer2013.load(tiny_fer2013, split)
        for number, (image, label) in enumerate(zip(crops.images, crops.labels, strict=True)):
            place = tmp_path / "data" / half / LABELS[label]
            place.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(place / f"{usage}_{number}.png"), image)
    return tmp_path / "data"


# --- drawing


@pytest.mark.parametrize(
    ("count", "shares"), [(7, [1] * 7), (28, [4] * 7), (10, [2, 2, 2, 1, 1, 1, 1])]
)
def test_every_class_has_the_same_share_and_the_first_the_rest(
    count: int, shares: list[int], tiny_fer2013: Path
) -> None:
    assert draw(tiny_fer2013, count).crops.counts().tolist() == shares


def test_crops_come_from_the_training_split_with_their_labels(
    drawn: CalibrationSet, tiny_fer2013: Path
) -> None:
    train = fer2013.load(tiny_fer2013, "train")
    known = dict(zip(train.names, zip(train.images, train.labels, strict=True), strict=True))
    assert len(set(drawn.crops.names)) == 14
    for name, image, label in zip(
        drawn.crops.names, drawn.crops.images, drawn.crops.labels, strict=True
    ):
        np.testing.assert_array_equal(image, known[name][0])
        assert label == known[name][1]


def test_a_seed_draws_its_own_crops(drawn: CalibrationSet, tiny_fer2013: Path) -> None:
    assert draw(tiny_fer2013, 14).sha256 == drawn.sha256
    assert draw(tiny_fer2013, 14, seed=1).sha256 != drawn.sha256
    backwards = drawn.crops.take(np.arange(len(drawn.crops))[::-1])
    assert CalibrationSet(backwards).sha256 == drawn.sha256


def test_copies_of_test_pictures_and_constant_pictures_are_not_drawn(folder: Path) -> None:
    test = fer2013.load(folder, "test")
    cv2.imwrite(str(folder / "train/fear/Training_copy.png"), test.images[0])
    cv2.imwrite(str(folder / "train/fear/Training_black.png"), np.zeros((48, 48), np.uint8))
    every_fear = draw(folder, 28).crops
    assert not copies_of(every_fear.images, test.images).any()
    assert (every_fear.images.std(axis=(1, 2)) > 0).all()


@pytest.mark.parametrize("count", [-1, 0, 6])
def test_fewer_crops_than_classes_are_too_few(count: int, tiny_fer2013: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"at least 7, not {count}"):
        draw(tiny_fer2013, count)


def test_more_crops_than_there_are_is_told_with_the_largest_number(folder: Path) -> None:
    for name in ("sad", "angry"):
        next((folder / "train" / name).iterdir()).unlink()
    next((folder / "train/sad").iterdir()).unlink()
    with pytest.raises(
        ConfigurationError, match=r"29 crops need 5 of angry.* 3; ask for at most 14"
    ):
        draw(folder, 29)
    assert len(draw(folder, 14).crops) == 14


def test_a_class_without_a_usable_picture_is_a_defect_of_the_data(folder: Path) -> None:
    for file in (folder / "train/disgust").iterdir():
        cv2.imwrite(str(file), np.zeros((48, 48), np.uint8))
    with pytest.raises(DataError, match="no training picture of disgust that can be used"):
        draw(folder, 7)


def test_a_negative_seed_is_refused(tiny_fer2013: Path) -> None:
    with pytest.raises(ConfigurationError, match="a seed should be 0 or more, not -1"):
        draw(tiny_fer2013, 7, seed=-1)


# --- saving and reading


def test_a_set_survives_its_file(drawn: CalibrationSet, saved: Path) -> None:
    read = load(saved)
    np.testing.assert_array_equal(read.crops.images, drawn.crops.images)
    np.testing.assert_array_equal(read.crops.labels, drawn.crops.labels)
    assert (read.crops.names, read.sha256) == (drawn.crops.names, drawn.sha256)
    with np.load(saved) as archive:
        expected = [hashlib.sha256(image.tobytes()).hexdigest() for image in archive["images"]]
        assert archive["sha256"].tolist() == expected


def test_a_changed_pixel_is_noticed(saved: Path) -> None:
    images = load(saved).crops.images.copy()
    images[3, 10, 10] ^= 1
    rewrite(saved, images=images)
    with pytest.raises(DataError, match="damaged: an image does not have its hash"):
        load(saved)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": None}, "no usable calibration set of fer-calib"),
        (
            {"images": np.zeros((14, 48, 48), np.float32)},
            r"W, 3\), not float32 \(14, 48, 48\)",
        ),
        ({"images": np.zeros((14, 4, 64), np.uint8)}, r"W, 3\), not uint8 \(14, 4, 64\)"),
        ({"images": np.uint8(0)}, "one label, name and hash for each"),
        ({"images": np.zeros((0, 48, 48), np.uint8)}, "one label, name and hash for each"),
        ({"labels": np.zeros(13, np.int64)}, "one label, name and hash for each"),
        ({"labels": np.int64(0)}, "one label, name and hash for each"),
        ({"names": np.array(["a"])}, "one label, name and hash for each"),
        ({"sha256": np.array([])}, "one label, name and hash for each"),
        ({"labels": np.full(14, 7)}, "labels other than 0 to 6"),
        ({"labels": np.full(14, -1)}, "labels other than 0 to 6"),
        ({"labels": np.zeros(14)}, "labels other than 0 to 6"),
        ({"sha256": np.arange(14)}, "an image does not have its hash"),
        ({"names": np.array([{}] * 14)}, "Object arrays cannot be loaded"),
    ],
)
def test_a_file_of_another_kind_is_refused(
    changes: dict[str, Any], message: str, saved: Path
) -> None:
    rewrite(saved, **changes)
    with pytest.raises(DataError, match=message):
        load(saved)


@pytest.mark.parametrize("length", [0, -1, -1000])
def test_a_truncated_file_is_refused(length: int, saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:length])
    with pytest.raises(DataError, match="no usable calibration set of fer-calib"):
        load(saved)


def test_members_that_are_no_arrays_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "calib.npz", "w") as archive:
        for name in ("images", "labels", "names", "sha256"):
            archive.writestr(f"{name}.npy", b"hello")
    with pytest.raises(
        DataError, match=r"no usable calibration set of fer-calib \(images is no array"
    ):
        load(tmp_path / "calib.npz")


def test_a_single_array_is_no_calibration_set(tmp_path: Path) -> None:
    np.save(tmp_path / "calib.npy", np.zeros((14, 48, 48), np.uint8))
    with pytest.raises(DataError, match="no usable calibration set of fer-calib"):
        load(tmp_path / "calib.npy")


@pytest.mark.parametrize("path", ["none.npz", ".", "x" * 5000])
def test_a_set_that_is_not_there_is_told_with_the_command_that_makes_it(
    path: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"no calibration set at .*: fer-calib --data .* --out "):
        load(tmp_path / path)


def test_a_set_of_arrays_of_ones_own_can_be_saved(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 48, 48), dtype=np.uint8)
    own = CalibrationSet(LabelledCrops(images, np.arange(7), tuple("abcdefg")))
    own.save(tmp_path / "below/calib.npz")
    assert load(tmp_path / "below/calib.npz").sha256 == own.sha256


def test_a_small_data_set_gives_what_it_has_where_that_is_enough(tiny_fer2013: Path) -> None:
    drawn = draw(tiny_fer2013, 512, exact=False)
    assert np.bincount(drawn.crops.labels).tolist() == [4] * 7


def test_a_set_drawn_without_a_test_half_says_so_and_keeps_it(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(folder / "test")
    out = tmp_path / "calib.npz"
    assert main(["--data", str(folder), "--out", str(out), "--count", "7"]) == 0
    assert "without a test half" in capsys.readouterr().err
    assert load(out).note == "drawn without a test half to compare with"


def test_a_test_half_that_is_not_read_is_no_absent_one(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "test").rename(folder / "holdout")
    assert main(["--data", str(folder), "--out", str(tmp_path / "calib.npz")]) == 2
    assert "holdout stands beside train" in capsys.readouterr().err


def test_a_set_of_another_model_is_refused(tiny_fer2013: Path, tiny_spec: ModelSpec) -> None:
    drawn = draw(tiny_fer2013, 7)
    with pytest.raises(DataError, match=r"the calibration set is of angry.*and the model of a, b"):
        drawn.for_model(tiny_spec.with_changes(labels=("a", "b")))


# --- what INT8 must not be calibrated on

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
        calibration_set(images)


@pytest.mark.parametrize(
    "name", ["test/fear/PublicTest_3.jpg", "PrivateTest_88.png", "x.zip:test/sad/PublicTest_1.jpg"]
)
def test_a_picture_that_is_named_as_a_test_picture_is_refused(
    name: str, drawings: np.ndarray
) -> None:
    names = (*(f"Training_{i}" for i in range(COUNT - 1)), name)
    with pytest.raises(DataError, match="1 calibration crops are test pictures"):
        calibration_set(drawings[:COUNT], names=names).check()


def test_test_pictures_in_the_training_half_are_not_drawn(tiny_fer2013: Path) -> None:
    archive = tiny_fer2013.parent / "merged.zip"
    with zipfile.ZipFile(tiny_fer2013) as source, zipfile.ZipFile(archive, "w") as merged:
        for name in source.namelist():
            merged.writestr(name.replace("test/", "train/"), source.read(name))
    with pytest.raises(DataError, match=r"are test pictures, .*Move them out of the training half"):
        draw(archive, 49)


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
