"""What accuracy is measured, and on which pictures, against sums done by hand."""

from __future__ import annotations

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
from fer_edge.evaluation import metrics
from fer_edge.evaluation.fer2013 import LabelledCrops

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

ANGRY, _, _, HAPPY, SAD, _, NEUTRAL = range(7)


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


def test_every_metric_is_that_of_the_answers(result: AccuracyResult) -> None:
    labels = np.array([label for label, _, _ in FIVE])
    batch = np.zeros((5, 48, 48, 1), np.uint8)
    batch[:, 0, :2, 0] = [(answer, percent) for _, answer, percent in FIVE]
    expected = metrics.score(labels, Scripted().infer(batch)[1], LABELS)
    assert expected.accuracy == 3 / 5
    assert {name: getattr(result, name) for name in vars(expected)} == vars(expected)


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
