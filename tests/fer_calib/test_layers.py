"""What quantisation sees in a core."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import onnx
import pytest

from fer_calib.crops import Crops
from fer_calib.layers import CoreGraph
from fer_calib.quantisation import quantize
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.errors import ArtifactError
from fer_export.contract_nodes import attach_contract


def changed(core: onnx.ModelProto, change: Callable[[onnx.ModelProto], None]) -> onnx.ModelProto:
    copied = deepcopy(core)
    change(copied)
    return copied


def test_layers_are_known_by_the_names_of_their_parameters(
    cnn: onnx.ModelProto, transformer: onnx.ModelProto
) -> None:
    names = [layer.name for layer in CoreGraph(cnn).layers]
    assert names == ["stem", "depthwise", "pointwise", "last", "head"]
    # a product's own weight has no name that anyone knows; the bias behind it does
    assert [layer.name for layer in CoreGraph(transformer).layers] == [
        "patch_embed",
        "fc1",
        "fc2",
        "head",
    ]


def test_a_layer_ends_behind_the_bound_that_engines_compute_along(cnn: onnx.ModelProto) -> None:
    ends = {layer.name: layer.output for layer in CoreGraph(cnn).layers}
    assert ends["stem"] == "stem.act"
    assert ends["depthwise"] == "depthwise.act"
    assert ends["pointwise"] == "pointwise"


def test_output_channels_are_on_the_axis_that_the_operator_says(
    cnn: onnx.ModelProto, transformer: onnx.ModelProto
) -> None:
    assert {layer.axis for layer in CoreGraph(cnn).layers} == {0}
    axes = {layer.op: layer.axis for layer in CoreGraph(transformer).layers}
    assert axes == {"Conv": 0, "MatMul": 1, "Gemm": 0}


def test_layers_that_share_a_parameter_go_by_the_names_of_the_graph(
    transformer: onnx.ModelProto,
) -> None:
    def share(model: onnx.ModelProto) -> None:
        next(n for n in model.graph.node if n.name == "node_fc1").input[1] = "norm.bias"
        next(n for n in model.graph.node if n.name == "node_fc2").input[1] = "norm.bias"

    names = [layer.name for layer in CoreGraph(changed(transformer, share)).layers]
    assert names[1:3] == ["node_fc1.product", "node_fc2.product"]


def test_residual_additions_are_told_from_biases(
    cnn: onnx.ModelProto, transformer: onnx.ModelProto
) -> None:
    assert [node.name for node in CoreGraph(cnn).additions()] == ["node_sum"]
    assert [node.name for node in CoreGraph(transformer).additions()] == ["node_total"]


def test_what_can_be_quantised_are_inputs_of_layers_and_what_convolutions_give(
    cnn: onnx.ModelProto, transformer: onnx.ModelProto
) -> None:
    assert CoreGraph(cnn).tensors() == [
        "normalized",
        "stem.act",
        "depthwise.act",
        "pointwise",
        "sum",
        "last.act",
        "pooled",
    ]
    # no residual stream, and no input of a layer norm
    assert CoreGraph(transformer).tensors() == ["normalized", "patch_embed", "norm", "gelu", "p"]


def test_an_artifact_with_its_contract_is_no_core(
    cnn: onnx.ModelProto, tiny_spec: ModelSpec
) -> None:
    with pytest.raises(ArtifactError, match="not a graph from crop to logits, probabilities"):
        CoreGraph(attach_contract(cnn, tiny_spec))


def test_a_core_is_quantised_once(cnn: onnx.ModelProto, crops: Crops) -> None:
    (first, *_) = (layer.name for layer in CoreGraph(cnn).layers)
    for left in ((), (first,)):
        with pytest.raises(ArtifactError, match="is quantised already; start from the float32"):
            CoreGraph(quantize(cnn, crops, "canonical", keep_float=left))


def test_a_static_batch_comes_after_calibration(cnn: onnx.ModelProto) -> None:
    def fix(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1

    with pytest.raises(ArtifactError, match="a fixed batch of 1; calibrate the dynamic one"):
        CoreGraph(changed(cnn, fix))


@pytest.mark.parametrize("name", ["", "node_stem.act"])
def test_a_node_needs_a_name_of_its_own(name: str, cnn: onnx.ModelProto) -> None:
    def rename(model: onnx.ModelProto) -> None:
        model.graph.node[0].name = name

    with pytest.raises(ArtifactError, match="needs a name of its own"):
        CoreGraph(changed(cnn, rename))


def test_a_core_without_a_layer_has_nothing_to_quantise() -> None:
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["normalized"], ["logits"], "flat")],
        "core",
        [helper.make_tensor_value_info("normalized", floats, ["batch", 1, 1, 7])],
        [helper.make_tensor_value_info("logits", floats, ["batch", 7])],
    )
    with pytest.raises(ArtifactError, match="nothing to quantise"):
        CoreGraph(helper.make_model(graph))
