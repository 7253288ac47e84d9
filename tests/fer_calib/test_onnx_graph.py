"""The index of a graph, and ways to copy and save models without their weights in memory twice."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fer_calib.onnx_graph import OnnxGraph, check, model_of, outline, save, save_apart


@pytest.fixture
def model(cnn: onnx.ModelProto) -> onnx.ModelProto:
    """The convolutional core with a weight that takes a length of three bytes to write."""
    copied = deepcopy(cnn)
    copied.metadata_props.add(key="who", value="me")
    copied.graph.initializer.append(numpy_helper.from_array(np.ones(60_000, np.float32), "large"))
    return copied


def test_the_index_knows_makers_readers_types_and_constants(cnn: onnx.ModelProto) -> None:
    graph = OnnxGraph(cnn)
    assert graph.makers["sum"].name == "node_sum"
    assert [node.name for node in graph.readers["stem.act"]] == ["node_depthwise", "node_sum"]
    assert (graph.types["sum"], graph.types["stem.weight"]) == ("FLOAT", "FLOAT")
    assert graph.constant("stem.weight")
    assert not graph.constant("sum")


def test_an_outline_has_no_large_weight_and_the_same_types(model: onnx.ModelProto) -> None:
    light = outline(model)
    assert light.ByteSize() < 0.1 * model.ByteSize()
    assert "stem.bias" in {tensor.name for tensor in light.graph.initializer}
    assert OnnxGraph(light).types["sum"] == "FLOAT"


def test_the_check_finds_what_does_not_fit_a_weight_that_it_did_not_copy() -> None:
    shape = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 64]) for n in ("x", "y")]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        shape[:1],
        shape[1:],
        [numpy_helper.from_array(np.ones((32, 64), np.float32), "w")],
    )
    with pytest.raises(onnx.shape_inference.InferenceError):
        check(helper.make_model(graph))


def test_a_saved_model_is_read_as_it_was(model: onnx.ModelProto, tmp_path: Path) -> None:
    save(model, tmp_path / "m.onnx")
    assert onnx.load(tmp_path / "m.onnx") == model


def test_weights_saved_apart_come_back(model: onnx.ModelProto, tmp_path: Path) -> None:
    path = save_apart(model, tmp_path)
    assert path.stat().st_size < 0.1 * model.ByteSize()
    read = onnx.load(path)
    expected = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    assert {t.name for t in read.graph.initializer} == expected.keys()
    for tensor in read.graph.initializer:
        np.testing.assert_array_equal(numpy_helper.to_array(tensor), expected[tensor.name])


def test_a_model_of_other_outputs_keeps_the_rest(model: onnx.ModelProto) -> None:
    made = model_of(model, model.graph.node, model.graph.initializer, ["sum"])
    assert [output.name for output in made.graph.output] == ["sum"]
    assert made.metadata_props == model.metadata_props
    assert made.graph.initializer == model.graph.initializer
