"""Checks on labelled pictures, of answers that are made up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from fer_bench.paired_tests import pack_mask
from fer_bench.regression.baseline import (
    Baseline,
    RecordedAccuracy,
    RecordedCell,
    RecordedData,
)
from fer_bench.regression.cells import Cell
from fer_bench.regression.outcome import Outcome
from fer_bench.regression.picture_checks import accuracy, calibration, recall
from fer_bench.regression.pictures import EvaluationData
from fer_bench.regression.subject import Subject
from fer_bench.regression.suite import Check
from fer_edge import LABELS
from fer_edge.artifacts.manifest import ArtifactEntry
from fer_edge.errors import DataError
from fer_edge.evaluation.fer2013 import LabelledCrops

CELL = Cell(Path(), "m.onnx", "onnxruntime", ArtifactEntry("m.onnx", "a" * 64, 1, "onnx", "fp32"))
EVERY_CLASS = np.repeat(np.arange(7), 100)


@dataclass(frozen=True)
class Run:
    """A run of a model that was right on every picture when it was recorded.

    ``others`` tells of other pictures, that they are "meant" or "unsaid".
    """

    labels: npt.NDArray[np.int64]
    answers: npt.NDArray[np.int64]
    recorded: dict[str, float]
    others: str = ""

    def subject(self) -> Subject:
        n = len(self.labels)
        crops = LabelledCrops(np.zeros((n, 48, 48), np.uint8), self.labels, ("x.png",) * n)
        hits = pack_mask(np.ones(n, np.bool_))
        kept = RecordedCell(
            "fp32", "a" * 64, 1, {}, accuracy=RecordedAccuracy(1.0, self.recorded, 0.0, hits)
        )
        baseline = Baseline("m", {CELL.name: kept}, data=RecordedData("public-test", n, "same"))
        data = EvaluationData("public-test", crops, "other" if self.others else "same")
        meant, answers = self.others == "meant", np.eye(7)[self.answers]
        return Subject(CELL, "m", {}, (), baseline, data=data, other_data=meant, _on_data=answers)


def _failing(outcome: Outcome) -> list[str]:
    return [f"{row.what}: {row.now}" for row in outcome.rows if not row.holds]


def test_a_class_that_the_baseline_lacks_fails() -> None:
    """Right or wrong, nothing guards it."""
    recorded = dict.fromkeys(LABELS, 1.0)
    del recorded["fear"]
    found = recall(Run(EVERY_CLASS, EVERY_CLASS, recorded).subject())
    assert _failing(found) == ["recall of fear, 100 pictures: 100.0%"]


def test_a_baseline_without_any_class_fails() -> None:
    wrong = (EVERY_CLASS + 1) % 7
    assert len(_failing(recall(Run(EVERY_CLASS, wrong, {}).subject()))) == 7


def test_a_recorded_class_that_the_pictures_lack_fails() -> None:
    one = np.zeros(30, np.int64)
    found = recall(Run(one, one, dict.fromkeys(LABELS, 1.0)).subject())
    assert _failing(found) == [f"recall of {name}: no pictures" for name in LABELS[1:]]


@pytest.mark.parametrize("name", ["joy", ""])
def test_a_recorded_class_that_does_not_exist_fails(name: str) -> None:
    recorded = dict.fromkeys((*LABELS, name), 1.0)
    found = recall(Run(EVERY_CLASS, EVERY_CLASS, recorded).subject())
    assert _failing(found) == [f"recall of {name}: no pictures"]


@pytest.mark.parametrize("check", [accuracy, recall, calibration])
def test_other_pictures_are_refused_unless_they_are_meant(check: Check) -> None:
    others = Run(EVERY_CLASS, EVERY_CLASS, dict.fromkeys(LABELS, 1.0), "unsaid")
    with pytest.raises(DataError, match="--fer-other-data"):
        check(others.subject())


@pytest.mark.parametrize(("lost", "n"), [(10, 3500), (3, 70)], ids=["within bounds", "by chance"])
def test_a_loss_within_the_bound_or_by_chance_holds(lost: int, n: int) -> None:
    """Ten pictures of 3,500 are no chance and less than the bound; three of 70 the other way."""
    labels = np.arange(n) % 7
    answers = np.where(np.arange(n) < lost, labels + 1, labels) % 7
    assert accuracy(Run(labels, answers, dict.fromkeys(LABELS, 1.0)).subject()).holds


def test_what_turned_wrong_is_told_as_a_loss() -> None:
    answers = np.where(np.arange(700) < 5, EVERY_CLASS + 1, EVERY_CLASS)
    found = accuracy(Run(EVERY_CLASS, answers, dict.fromkeys(LABELS, 1.0)).subject())
    told = {row.what: row.now for row in found.rows}
    assert told["turned wrong, turned right"] == "5, 0"
    assert told["loss, 95 % interval"] == "-0.02% to 1.45%"
    assert [picture.worse for picture in found.changed] == [True] * 5


def test_three_other_pictures_are_too_few_to_tell() -> None:
    three = np.arange(3)
    found = accuracy(Run(three, three, dict.fromkeys(LABELS, 1.0), "meant").subject())
    assert _failing(found) == ["half of the 95 % interval: 28.07%"]
