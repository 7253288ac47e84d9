"""A static batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from fer_edge.backends.onnxruntime_engine import ort
from fer_edge.errors import ArtifactError, ConfigurationError
from fer_export.contract_nodes import with_static_batch


def test_input_and_outputs_have_the_batch_and_the_answers_stay(tiny_artifact: Path) -> None:
    dynamic = onnx.load(tiny_artifact)
    static = with_static_batch(dynamic, 3)
    session = ort.InferenceSession(static.SerializeToString())
    values = [*session.get_inputs(), *session.get_outputs()]
    assert [value.shape[0] for value in values] == [3, 3, 3]
    crops = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 1), np.uint8)
    expected = ort.InferenceSession(tiny_artifact).run(None, {"crop": crops})
    for given, wanted in zip(session.run(None, {"crop": crops}), expected, strict=True):
        np.testing.assert_allclose(given, wanted, atol=1e-6)
    with pytest.raises(Exception, match="Got: 2 Expected: 3"):
        session.run(None, {"crop": crops[:2]})


def test_spec_and_original_are_kept(tiny_artifact: Path) -> None:
    dynamic = onnx.load(tiny_artifact)
    static = with_static_batch(dynamic, 1)
    assert static.metadata_props == dynamic.metadata_props
    assert dynamic.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


@pytest.mark.parametrize("batch", [0, -1])
def test_a_batch_holds_at_least_one(batch: int, tiny_artifact: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"at least one crop, not {batch}"):
        with_static_batch(onnx.load(tiny_artifact), batch)


def test_a_static_model_keeps_its_batch(tiny_artifact: Path) -> None:
    static = with_static_batch(onnx.load(tiny_artifact), 4)
    assert with_static_batch(static, 4) == static
    with pytest.raises(ConfigurationError, match="static at a batch of 4 and cannot become 2"):
        with_static_batch(static, 2)


def test_a_network_that_fixes_another_batch_inside_is_refused(tiny_artifact: Path) -> None:
    model = onnx.load(tiny_artifact)
    flatten = next(node for node in model.graph.node if node.op_type == "Flatten")
    model.graph.initializer.append(
        onnx.numpy_helper.from_array(np.array([5, 48 * 48]), "fixed_shape")
    )
    flatten.CopyFrom(helper.make_node("Reshape", ["normalized", "fixed_shape"], ["flat"]))
    with pytest.raises(ArtifactError, match="cannot have a static batch of 2"):
        with_static_batch(model, 2)
