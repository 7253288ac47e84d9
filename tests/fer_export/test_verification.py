"""The proof of an artifact."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fer_calib.crops import Crops
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.errors import GateError
from fer_edge.evaluation.agreement import Agreement
from fer_export.source import from_onnx
from fer_export.verification import GATES, evaluation_crops, verify

GOOD = Agreement(top1=1.0, mean_kl=0.0, max_difference=0.0)
NAN = float("nan")


@pytest.mark.parametrize(
    ("precision", "changes"),
    [
        ("fp32", {"max_difference": 2e-4}),
        ("fp32", {"max_difference": NAN}),
        ("fp32", {"top1": 0.999}),
        ("fp32", {"top1": NAN}),
        ("fp16", {"max_difference": 6e-3}),
        ("fp16", {"top1": 0.997}),
        ("int8", {"top1": 0.959}),
        ("int8", {"mean_kl": 0.021}),
        ("int8", {"mean_kl": NAN}),
    ],
)
def test_a_gate_refuses(precision: str, changes: dict[str, float]) -> None:
    assert len(GATES[precision].defects(replace(GOOD, **changes), 0.0)) == 1


@pytest.mark.parametrize(
    ("precision", "changes"),
    [
        ("fp32", {"max_difference": 9e-5}),
        ("fp16", {"max_difference": 4e-3, "top1": 0.998}),
        ("int8", {"max_difference": 0.3, "top1": 0.96, "mean_kl": 0.019}),
    ],
)
def test_a_gate_accepts_what_its_precision_costs(precision: str, changes: dict[str, float]) -> None:
    assert GATES[precision].defects(replace(GOOD, **changes), 0.009) == []


def test_int8_may_not_cost_more_than_a_point() -> None:
    (defect,) = GATES["int8"].defects(GOOD, 0.011)
    assert defect == "loses 1.10 points of accuracy, allowed are 1.00"


def test_an_artifact_with_its_reference_passes(tiny_artifact: Path, tiny_spec: ModelSpec) -> None:
    crops = evaluation_crops(tiny_spec, None)
    expected = from_onnx(tiny_artifact).answers(crops.tensors)
    measured = verify(tiny_artifact, "onnxruntime", crops, expected)
    assert measured.parity.top1_agreement == 1
    assert (measured.parity.crops, measured.parity.crops_from) == (512, "seeded drawings")
    assert set(measured.parity.top1_agreement_by_class.values()) == {1.0}
    assert measured.accuracy is None


def test_other_answers_fail(tiny_artifact: Path, tiny_spec: ModelSpec) -> None:
    crops = evaluation_crops(tiny_spec, None)
    expected = np.roll(from_onnx(tiny_artifact).answers(crops.tensors), 1, axis=1)
    with pytest.raises(GateError, match=r"model\.onnx on onnxruntime is not the network"):
        verify(tiny_artifact, "onnxruntime", crops, expected)


def test_accuracy_and_its_paired_drop_are_measured(
    tiny_artifact: Path, tiny_spec: ModelSpec
) -> None:
    drawn = evaluation_crops(tiny_spec, None)
    expected = from_onnx(tiny_artifact).answers(drawn.tensors)
    labels = expected.argmax(axis=1)
    labels[:128] = (labels[:128] + 1) % 7
    crops = Crops(drawn.tensors, tiny_spec, labels, "drawings")
    accuracy = verify(tiny_artifact, "onnxruntime", crops, expected).accuracy
    assert accuracy is not None
    assert accuracy.accuracy == 0.75
    assert accuracy.drop == 0
    assert accuracy.drop_ci95[0] == -accuracy.drop_ci95[1]


def test_crops_of_a_data_set_come_with_their_labels(
    tiny_fer2013: Path, tiny_spec: ModelSpec
) -> None:
    crops = evaluation_crops(tiny_spec, tiny_fer2013)
    assert crops.labels is not None
    assert crops.tensors.shape == (21, 48, 48, 1)
    assert crops.source == "public-test"
