"""Checks of an artifact by itself, of answers that are made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from fer_bench.regression.artifact_checks import answers, golden, recorded
from fer_bench.regression.baseline import Baseline, RecordedCell, RecordedData, write_answer
from fer_bench.regression.cells import Cell
from fer_bench.regression.outcome import NotCompared
from fer_bench.regression.pictures import EvaluationData
from fer_bench.regression.subject import Subject
from fer_edge import Predictor
from fer_edge.artifacts.manifest import ArtifactEntry, GoldenCrop
from fer_edge.evaluation.fer2013 import LabelledCrops
from fer_edge.images.preprocess import preprocess_all
from fer_edge.images.synthetic import synthetic_crops

CELL = Cell(Path(), "m.onnx", "onnxruntime", ArtifactEntry("m.onnx", "a" * 64, 1, "onnx", "fp32"))
CROP = np.zeros((48, 48), np.uint8)


def _baseline(**kept: npt.NDArray[np.floating]) -> Baseline:
    told = {name: write_answer(answer) for name, answer in kept.items()}
    data = RecordedData("public-test", 1, "same")
    return Baseline("m", {CELL.name: RecordedCell("fp32", "a" * 64, 1, told)}, data=data)


def test_probes_of_another_release_are_no_comparison() -> None:
    """None of none would hold whatever the model answers."""
    subject = Subject(
        CELL, "m", {"new": CROP}, (), _baseline(old=np.eye(7)[0]), _on_probes=np.eye(7)[:1]
    )
    with pytest.raises(NotCompared, match="no answers to the probes of this release"):
        answers(subject)


def test_pictures_without_a_recorded_accuracy_fail() -> None:
    """The checks on them would be left out, and the cell would go unguarded."""
    crops = LabelledCrops(CROP[None], np.zeros(1, np.int64), ("x.png",))
    data = EvaluationData("public-test", crops, "same")
    assert recorded(Subject(CELL, "m", {}, (), _baseline())).holds
    assert not recorded(Subject(CELL, "m", {}, (), _baseline(), data=data)).holds


def test_a_golden_tensor_of_another_size_fails(tiny_artifact: Path) -> None:
    (crop,) = synthetic_crops(1)
    with Predictor(tiny_artifact, backend="onnxruntime") as fer:
        answer = fer.predict(crop).probabilities
        tensor = preprocess_all([crop], fer.info.spec.input)[0]
        for made, holds in ((tensor, True), (tensor[:, :24], False)):
            kept = GoldenCrop.of(crop, made, answer)
            subject = Subject(CELL, "m", {}, (kept,), _baseline(), _predictor=fer)
            assert golden(subject).holds is holds
