"""What accuracy is measured, and on which pictures, against sums done by hand."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from fer_bench.measure_accuracy import (
    AccuracyResult,
    EvaluationSplit,
    load_split,
    measure_accuracy,
)
from fer_edge import LABELS, InputSpec, ModelSpec, Predictor
from fer_edge.artifacts.spec import NetworkSpec
from fer_edge.backends import Backend, EngineInfo
from fer_edge.errors import DataError
from fer_edge.evaluation.fer2013 import LabelledCrops

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

ANGRY, _, _, HAPPY, SAD, _, NEUTRAL = range(7)
Z = 1.959963984540054


class Scripted(Backend):
    """Is as sure of a class as the picture says: its first pixel is the class, its second the
    confidence in percent.
    """

    def __init__(self, max_batch: int | None = None) -> None:
        self.spec = ModelSpec(NetworkSpec("scripted"), InputSpec(48, 48), precision="int8")
        self.engine = EngineInfo("double", "1.0", "nowhere", "unknown", None, 1, max_batch)
        self.sizes: list[int] = []

    def infer(self, batch: Image) -> tuple[Floats, Floats]:
        self.sizes.append(len(batch))
        shares = batch[:, 0, 1, 0] / np.float32(100)
        probabilities = np.repeat((1 - shares)[:, None] / 6, 7, axis=1).astype(np.float32)
        probabilities[np.arange(len(batch)), batch[:, 0, 0, 0]] = shares
        return np.log(probabilities), probabilities

    def close(self) -> None:
        pass


def split_of(rows: list[tuple[int, int, int]], copied: list[bool] | None = None) -> EvaluationSplit:
    """Pictures of which each is given as its class, the answer and the confidence in percent."""
    images = np.zeros((len(rows), 48, 48), np.uint8)
    for image, (_, answer, percent) in zip(images, rows, strict=True):
        image[0, :2] = answer, percent
    labels = np.array([label for label, _, _ in rows], np.int64)
    crops = LabelledCrops(images, labels, tuple(map(str, range(len(rows)))))
    return EvaluationSplit("public-test", crops, None if copied is None else np.array(copied))


FIVE = [(HAPPY, HAPPY, 90), (HAPPY, HAPPY, 70), (HAPPY, SAD, 50), (SAD, SAD, 95), (ANGRY, SAD, 40)]


@pytest.fixture
def result() -> AccuracyResult:
    """Of the five pictures, without knowing which of them are copies."""
    return measure_accuracy("dist/m", Predictor(backend=Scripted()), split_of(FIVE))


def test_accuracy_is_the_share_of_right_answers_with_wilsons_interval(
    result: AccuracyResult,
) -> None:
    assert (result.n, result.accuracy) == (5, 3 / 5)
    centre = (3 / 5 + Z**2 / 10) / (1 + Z**2 / 5)
    spread = Z * math.sqrt(3 / 5 * 2 / 5 / 5 + Z**2 / 100) / (1 + Z**2 / 5)
    assert result.accuracy_ci95 == pytest.approx((centre - spread, centre + spread))


def test_classes_are_scored_one_by_one(result: AccuracyResult) -> None:
    assert tuple(result.per_class) == LABELS
    happy, sad = result.per_class["happy"], result.per_class["sad"]
    assert (happy.precision, happy.recall, happy.support) == (1, pytest.approx(2 / 3), 3)
    assert (sad.precision, sad.recall, sad.support) == (pytest.approx(1 / 3), 1, 1)
    assert (happy.f1, sad.f1) == (pytest.approx(4 / 5), pytest.approx(1 / 2))
    assert result.macro_f1 == pytest.approx((4 / 5 + 1 / 2) / 7)


def test_the_confusion_has_a_row_per_true_class(result: AccuracyResult) -> None:
    expected = np.zeros((7, 7), int)
    expected[HAPPY, HAPPY], expected[HAPPY, SAD] = 2, 1
    expected[SAD, SAD], expected[ANGRY, SAD] = 1, 1
    assert np.array_equal(result.confusion, expected)


def test_calibration_and_likelihood_are_those_of_the_probabilities(result: AccuracyResult) -> None:
    # 0.90 lies in (13/15, 14/15], 0.95 above, 0.7, 0.5 and 0.4 each in a bin of their own
    gaps = (1 - 0.90) + (1 - 0.95) + (1 - 0.70) + 0.50 + 0.40
    assert result.ece == pytest.approx(gaps / 5, abs=1e-6)
    shares = (0.9, 0.7, 0.5 / 6, 0.95, 0.6 / 6)
    assert result.nll == pytest.approx(-sum(map(math.log, shares)) / 5, abs=1e-6)


@pytest.mark.parametrize(
    ("copied", "share", "n"),
    [([True, False, False, True, False], pytest.approx(1 / 3), 3), ([True] * 5, None, 0)],
    ids=["some", "all"],
)
def test_copies_are_left_out_of_the_second_accuracy(
    copied: list[bool], share: float | None, n: int
) -> None:
    result = measure_accuracy("m", Predictor(backend=Scripted()), split_of(FIVE, copied))
    assert (result.n, result.accuracy) == (5, 3 / 5)
    assert (result.accuracy_without_copies, result.n_without_copies) == (share, n)


def test_where_copies_are_unknown_the_second_accuracy_is_too(result: AccuracyResult) -> None:
    assert (result.accuracy_without_copies, result.n_without_copies) == (None, None)


def test_more_pictures_than_a_batch_are_all_measured() -> None:
    backend = Scripted()
    result = measure_accuracy("m", Predictor(backend=backend), split_of(FIVE * 30))
    assert (result.n, result.accuracy) == (150, 3 / 5)
    assert sum(backend.sizes) == 150


def test_no_more_pictures_are_sent_than_the_artifact_takes() -> None:
    backend = Scripted(max_batch=8)
    result = measure_accuracy("m", Predictor(backend=backend), split_of([(3, 3, 90)] * 20))
    assert (result.n, result.accuracy, backend.sizes) == (20, 1.0, [8, 8, 4])


def test_the_result_says_what_ran(result: AccuracyResult) -> None:
    assert (result.model, result.sha256, result.split) == ("dist/m", None, "public-test")
    assert (result.backend, result.provider) == ("double", "nowhere")
    assert (result.precision, result.inference_precision) == ("int8", "unknown")


# ---- the pictures


MakeData = Callable[[dict[str, Image]], Path]


@pytest.fixture
def make_data(tmp_path: Path) -> MakeData:
    """Write a zip of pictures by their names."""

    def make(pictures: dict[str, Image]) -> Path:
        with zipfile.ZipFile(tmp_path / "fer.zip", "w") as archive:
            for name, picture in pictures.items():
                archive.writestr(name, cv2.imencode(".png", picture)[1].tobytes())
        return tmp_path / "fer.zip"

    return make


def pictures(half: str, prefix: str, first: int) -> dict[str, Image]:
    """One picture per class, each of a single gray that no other has."""
    return {
        f"{half}/{label}/{prefix}_{number}.png": np.full((48, 48), first + number, np.uint8)
        for number, label in enumerate(LABELS)
    }


TRAIN = pictures("train", "Training", 0)
PUBLIC = pictures("test", "PublicTest", 50)
PRIVATE = pictures("test", "PrivateTest", 100)


def test_pictures_that_also_stand_in_train_are_marked(make_data: MakeData) -> None:
    copy = {"test/sad/PublicTest_99.png": TRAIN["train/happy/Training_3.png"]}
    split = load_split(make_data({**TRAIN, **PUBLIC, **copy}), "public-test")
    marked = [name for name, copied in zip(split.crops.names, split.copied, strict=True) if copied]
    assert marked == list(copy)


def test_without_the_training_half_copies_are_unknown(make_data: MakeData) -> None:
    split = load_split(make_data({**PUBLIC, **PRIVATE}), "private-test")
    assert len(split.crops) == 7
    assert split.copied is None


def test_train_is_no_copy_of_itself(make_data: MakeData) -> None:
    assert load_split(make_data({**TRAIN, **PUBLIC}), "train").copied is None


def test_both_halves_are_the_test_split(make_data: MakeData) -> None:
    split = load_split(make_data({**TRAIN, **PUBLIC, **PRIVATE}), "test")
    assert (split.name, len(split.crops)) == ("test", 14)


def test_a_training_half_that_is_incomplete_is_an_error(make_data: MakeData) -> None:
    part = dict(list(TRAIN.items())[:3])
    with pytest.raises(DataError, match="train lacks the class folders"):
        load_split(make_data({**part, **PUBLIC}), "public-test")


def test_a_split_without_pictures_is_an_error(make_data: MakeData) -> None:
    with pytest.raises(DataError, match="no pictures of the split private-test"):
        load_split(make_data({**TRAIN, **PUBLIC}), "private-test")
