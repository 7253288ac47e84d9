"""fp32 artifacts whose weights are stored as float16."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from fer_edge import Predictor
from fer_edge.artifacts.manifest import Manifest
from fer_edge.errors import GateError
from fer_edge.images.synthetic import synthetic_crops
from fer_export.half_weights import with_float_weights, with_half_weights
from fer_export.options import ExportOptions
from fer_export.pipeline import export_model
from fer_export.source import from_onnx


@pytest.fixture(scope="module")
def exported(tiny_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist") / "small"
    options = ExportOptions(half_weights=True, crops=40)
    export_model(from_onnx(tiny_artifact), out, ["onnx"], options=options)
    return out


def test_the_file_is_half_as_large(exported: Path, tiny_artifact: Path) -> None:
    assert (exported / "model.onnx").stat().st_size < 0.6 * tiny_artifact.stat().st_size


def test_it_is_fp32_and_was_compared_on_as_many_crops_as_asked(exported: Path) -> None:
    (entry,) = Manifest.read(exported).artifacts
    assert entry.precision == "fp32"
    assert {one.parity.crops for one in entry.measured} == {40}
    assert {one.inference_precision for one in entry.measured} == {"fp32"}


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_its_answers_stay_within_the_gate_of_fp16(
    exported: Path, tiny_artifact: Path, backend: str
) -> None:
    crops = synthetic_crops(20, seed=5)
    answers = []
    for model in (exported, tiny_artifact):
        with Predictor(model, backend=backend, precision="fp32") as fer:
            answers.append(np.stack([p.probabilities for p in fer.predict_batch(crops)]))
    assert 0 < np.abs(answers[0] - answers[1]).max() <= 5e-3


def test_an_export_starts_from_it_as_from_any_fp32_onnx(exported: Path) -> None:
    core = from_onnx(exported / "model.onnx").core
    kinds = {tensor.data_type for tensor in core.graph.initializer}
    assert TensorProto.FLOAT16 not in kinds
    assert "Cast" not in {node.op_type for node in core.graph.node}


def test_other_models_come_back_as_they_are(tiny_artifact: Path) -> None:
    model = onnx.load(tiny_artifact)
    assert with_float_weights(model) is model


def test_a_weight_that_float16_does_not_hold_is_refused(tiny_artifact: Path) -> None:
    model = onnx.load(tiny_artifact)
    matrix = next(t for t in model.graph.initializer if len(t.dims) == 2)
    matrix.CopyFrom(numpy_helper.from_array(1e6 * numpy_helper.to_array(matrix) + 1e6, matrix.name))
    with pytest.raises(GateError, match="too large for float16; leave out --half-weights"):
        with_half_weights(model)
