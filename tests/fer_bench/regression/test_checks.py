"""The checks one by one, of answers that are made up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fer_bench.paired_tests import pack_mask
from fer_bench.regression.answer_checks import answers, golden, latency, parity, recorded
from fer_bench.regression.baseline import (
    Baseline,
    RecordedAccuracy,
    RecordedCell,
    RecordedData,
    RecordedLatency,
    write_answer,
)
from fer_bench.regression.cells import Cell, ModelUnderTest
from fer_bench.regression.outcome import NotCompared, Outcome, at_least, at_most, note, table
from fer_bench.regression.picture_checks import accuracy, calibration, recall
from fer_bench.regression.subject import Run, Subject
from fer_edge import LABELS, Predictor
from fer_edge.artifacts.manifest import ArtifactEntry, GoldenCrop, Manifest
from fer_edge.errors import DataError
from fer_edge.evaluation.fer2013 import LabelledCrops
from fer_edge.images.preprocess import preprocess_all
from fer_edge.images.synthetic import synthetic_crops
from fer_edge.system.machine import cpu_name

Answers = npt.NDArray[np.floating]

FP32 = Cell(Path(), "m.onnx", "onnxruntime", ArtifactEntry("m.onnx", "a" * 64, 1, "onnx", "fp32"))
INT8 = Cell(Path(), "m.int8.onnx", "onnxruntime", replace(FP32.entry, precision="int8"))
CROP = np.zeros((48, 48), np.uint8)
KEPT = RecordedCell("fp32", "a" * 64, 1, {})
SURE = np.eye(7)[:1] * 0.93 + 0.01


def run_of(
    cell: Cell,
    kept: RecordedCell = KEPT,
    labels: npt.NDArray[np.int64] | None = None,
    *,
    golden: tuple[GoldenCrop, ...] = (),
    sha256: str = "same",
    other_data: bool = False,
    **found: Any,
) -> Run:
    """A run whose baseline has this of a cell, and black pictures with these labels."""
    manifest = Manifest("m", "fp32", (), golden)
    n = 1 if labels is None else len(labels)
    baseline = Baseline("m", {cell.name: kept}, data=RecordedData("public-test", n, "same"))
    source = None if labels is None else "given"
    run = Run(ModelUnderTest(Path("m"), manifest, (), {}), baseline, source, other_data=other_data)
    if labels is not None:
        crops = LabelledCrops(np.zeros((n, 48, 48), np.uint8), labels, ("x.png",) * n)
        found |= {"data": crops, "pictures": RecordedData("public-test", n, sha256)}
    vars(run).update(found)
    return run


def answered(cell: Cell, run: Run, **measured: Any) -> Subject:
    """A subject that has measured this already, so that nothing is opened."""
    subject = Subject(cell, run)
    vars(subject).update(measured)
    return subject


def failing(outcome: Outcome) -> list[str]:
    return [f"{row.what}: {row.now}" for row in outcome.rows if not row.holds]


# ---- outcomes


def test_a_check_holds_if_every_row_does() -> None:
    good, bad = at_least("a", 1, 0), at_most("b", 1, 0)
    assert Outcome((good, note("c", "x"))).holds
    assert not Outcome((good, bad)).holds


def test_a_check_that_compared_nothing_fails_and_says_so() -> None:
    for empty in (Outcome(()), Outcome((note("95 % interval", "0 to 1"),))):
        assert not empty.holds
        assert "comparisons" in table(empty.rows)


def test_what_is_no_number_never_holds() -> None:
    assert not at_least("a", float("nan"), 0).holds
    assert not at_most("a", float("nan"), 0).holds


# ---- an artifact alone


def test_probes_of_another_release_are_no_comparison() -> None:
    """None of none would hold whatever the model answers."""
    kept = replace(KEPT, answers={"old": write_answer(np.eye(7)[0])})
    subject = answered(FP32, run_of(FP32, kept, probes={"new": CROP}), on_probes=np.eye(7)[:1])
    with pytest.raises(NotCompared, match="no answers to the probes of this release"):
        answers(subject)


def test_pictures_without_a_recorded_accuracy_fail() -> None:
    """The checks on them would be left out, and the cell would go unguarded."""
    assert recorded(Subject(FP32, run_of(FP32))).holds
    assert not recorded(Subject(FP32, run_of(FP32, labels=np.zeros(1, np.int64)))).holds


def test_a_golden_tensor_of_another_size_fails(tiny_artifact: Path) -> None:
    (crop,) = synthetic_crops(1)
    with Predictor(tiny_artifact, backend="onnxruntime") as fer:
        answer = fer.predict(crop).probabilities
        tensor = preprocess_all([crop], fer.info.spec.input)[0]
        for made, holds in ((tensor, True), (tensor[:, :24], False)):
            run = run_of(FP32, golden=(GoldenCrop.of(crop, made, answer),))
            assert golden(answered(FP32, run, predictor=fer)).holds is holds


# ---- beside the reference


def beside_reference(kept: RecordedCell, given: Answers = SURE, on_data: Answers = SURE) -> Subject:
    """INT8 beside a reference that is sure of the first class, of a probe and of a picture."""
    run = run_of(INT8, kept, np.zeros(1, np.int64), probes={"probe": CROP})
    run.reference = answered(FP32, run, on_probes=SURE, on_data=SURE)
    return answered(INT8, run, on_probes=given, on_data=on_data)


def test_answers_to_pictures_are_compared_as_well_as_those_to_probes() -> None:
    assert failing(parity(beside_reference(KEPT))) == []
    rows = failing(parity(beside_reference(KEPT, on_data=SURE[:, ::-1])))
    names = ["top-1 agreement", "mean KL, nats", "max |Δp|"]
    assert [row.rpartition(": ")[0] for row in rows] == [f"public-test: {name}" for name in names]


@pytest.mark.parametrize(
    ("moved", "recorded", "holds"),
    [
        (0.001, 1e-9, True),  # a KL of 5e-5: rounding, however little was recorded
        (0.02, 1e-3, False),
        (0.02, 8e-3, True),
    ],
)
def test_growth_of_the_kl_counts_beyond_rounding(
    moved: float, recorded: float, holds: bool
) -> None:
    """``moved`` is a part of the first class's probability, given to the second."""
    given = SURE + np.array([-moved, moved, 0, 0, 0, 0, 0])
    outcome = parity(beside_reference(replace(KEPT, mean_kl=recorded), given))
    names = [row.what for row in outcome.rows if not row.holds]
    assert names == ([] if holds else ["probes: growth of mean KL"])


@pytest.mark.parametrize(
    ("kept", "reason"),
    [
        (None, "the baseline has no latency of this cell"),
        (RecordedLatency(9.0, FP32.name, "another"), "the ratio was recorded on another"),
        (RecordedLatency(9.0, "n.onnx[torch]", cpu_name()), r"recorded against n\.onnx\[torch\]"),
    ],
)
def test_a_ratio_of_something_else_is_no_comparison(
    kept: RecordedLatency | None, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "fer_bench.regression.subject.measure_pair", lambda *_: pytest.fail("measured")
    )
    with pytest.raises(NotCompared, match=reason):
        latency(beside_reference(replace(KEPT, latency=kept)))


# ---- labelled pictures

EVERY_CLASS = np.repeat(np.arange(7), 100)
PERFECT = dict.fromkeys(LABELS, 1.0)


def answering(
    labels: npt.NDArray[np.int64],
    given: npt.NDArray[np.int64],
    recalls: dict[str, float] = PERFECT,
    others: str = "",
) -> Subject:
    """A model that was right on every picture when it was recorded.

    ``others`` tells of other pictures, that they are "meant" or "unsaid".
    """
    n = len(labels)
    hits = pack_mask(np.ones(n, np.bool_))
    kept = replace(KEPT, accuracy=RecordedAccuracy(1.0, recalls, 0.0, hits))
    sha256 = "other" if others else "same"
    run = run_of(FP32, kept, labels, sha256=sha256, other_data=others == "meant")
    return answered(FP32, run, on_data=np.eye(7)[given])


def test_a_class_that_the_baseline_lacks_fails() -> None:
    """Right or wrong, nothing guards it."""
    lacking = {name: rate for name, rate in PERFECT.items() if name != "fear"}
    found = recall(answering(EVERY_CLASS, EVERY_CLASS, lacking))
    assert failing(found) == ["recall of fear, 100 pictures: 100.0%"]
    assert len(failing(recall(answering(EVERY_CLASS, (EVERY_CLASS + 1) % 7, {})))) == 7


def test_a_recorded_class_that_the_pictures_lack_fails() -> None:
    one = np.zeros(30, np.int64)
    found = recall(answering(one, one))
    assert failing(found) == [f"recall of {name}: no pictures" for name in LABELS[1:]]


@pytest.mark.parametrize("name", ["joy", ""])
def test_a_recorded_class_that_does_not_exist_fails(name: str) -> None:
    found = recall(answering(EVERY_CLASS, EVERY_CLASS, {**PERFECT, name: 1.0}))
    assert failing(found) == [f"recall of {name}: no pictures"]


@pytest.mark.parametrize("check", [accuracy, recall, calibration])
def test_other_pictures_are_refused_unless_they_are_meant(
    check: Callable[[Subject], Outcome],
) -> None:
    with pytest.raises(DataError, match="--fer-other-data"):
        check(answering(EVERY_CLASS, EVERY_CLASS, others="unsaid"))


@pytest.mark.parametrize(("lost", "n"), [(10, 3500), (3, 70)], ids=["within bounds", "by chance"])
def test_a_loss_within_the_bound_or_by_chance_holds(lost: int, n: int) -> None:
    """Ten pictures of 3,500 are no chance and less than the bound; three of 70 the other way."""
    labels = np.arange(n) % 7
    given = np.where(np.arange(n) < lost, labels + 1, labels) % 7
    assert accuracy(answering(labels, given)).holds


def test_what_turned_wrong_is_told_as_a_loss() -> None:
    given = np.where(np.arange(700) < 5, EVERY_CLASS + 1, EVERY_CLASS)
    found = accuracy(answering(EVERY_CLASS, given))
    told = {row.what: row.now for row in found.rows}
    assert told["turned wrong, turned right"] == "5, 0"
    assert told["loss, 95 % interval"] == "-0.02% to 1.45%"
    assert [picture.worse for picture in found.changed] == [True] * 5


def test_three_other_pictures_are_too_few_to_tell() -> None:
    three = np.arange(3)
    found = accuracy(answering(three, three, others="meant"))
    assert failing(found) == ["half of the 95 % interval: 28.07%"]


def run_on(data: Path) -> Run:
    """A run of no artifact at all."""
    return Run(ModelUnderTest(Path("m"), None, (), {}), Baseline("m"), data)


def test_pictures_have_an_order_of_their_own(tmp_path: Path, workbench: Any) -> None:
    """A CSV has them in another order than a zip, and the bits of a baseline mean the same."""
    read = run_on(workbench.data)
    lines = [
        f'{label},"{" ".join(map(str, image.ravel()))}",PublicTest'
        for image, label in zip(read.data.images, read.data.labels, strict=True)
    ]
    np.random.default_rng(0).shuffle(lines)
    csv = tmp_path / "fer2013.csv"
    csv.write_text("\n".join(["emotion,pixels,Usage", *lines]))
    again = run_on(csv)
    assert again.pictures == read.pictures
    np.testing.assert_array_equal(again.data.images, read.data.images)
