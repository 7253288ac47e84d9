"""int8 beside fp16: the graph that an engine in int8 is built from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fer_calib.crops import Crops
from fer_calib.quantisation import quantize
from fer_edge import Predictor
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.images.preprocess import preprocess_all
from fer_edge.images.synthetic import synthetic_crops
from fer_export.contract_nodes import attach_contract, product_types
from fer_export.tensorrt.lint import check_model
from fer_export.tensorrt.mixed import MIXED_OPSET, to_mixed

HALF = TensorProto.FLOAT16


@pytest.fixture
def core() -> onnx.ModelProto:
    """Two convolutions, the second of which has weights far below float16's normal range."""
    rng = np.random.default_rng(0)
    arrays = {
        "one.weight": rng.normal(0, 0.3, (4, 1, 3, 3)),
        "one.bias": rng.normal(0, 1, 4),
        "two.weight": rng.normal(0, 1, (8, 4, 3, 3)) * 10.0 ** -np.arange(8).reshape(8, 1, 1, 1),
        "two.bias": rng.normal(0, 1, 8),
        "last.weight": rng.normal(0, 0.01, (8 * 48 * 48, 7)),
        "last.bias": rng.normal(0, 1, 7),
    }
    nodes = [
        helper.make_node(
            "Conv", ["normalized", "one.weight", "one.bias"], ["a"], "one", pads=[1] * 4
        ),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("Conv", ["b", "two.weight", "two.bias"], ["c"], "two", pads=[1] * 4),
        helper.make_node("Flatten", ["c"], ["d"], "flat"),
        helper.make_node("Gemm", ["d", "last.weight", "last.bias"], ["logits"], "last"),
    ]
    floats = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "core",
        [helper.make_tensor_value_info("normalized", floats, ["batch", 1, 48, 48])],
        [helper.make_tensor_value_info("logits", floats, ["batch", 7])],
        [numpy_helper.from_array(v.astype(np.float32), name) for name, v in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


@pytest.fixture
def crops(tiny_spec: ModelSpec) -> Crops:
    return Crops(preprocess_all(synthetic_crops(32), tiny_spec.input), tiny_spec)


@pytest.fixture
def plain(core: onnx.ModelProto, crops: Crops) -> onnx.ModelProto:
    return quantize(core, crops, "canonical")


def types(model: onnx.ModelProto) -> dict[str, int]:
    graph = onnx.shape_inference.infer_shapes(model).graph
    found = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    return found | {tensor.name: tensor.data_type for tensor in graph.initializer}


def test_quantisers_have_scales_of_float16_and_products_stay_int8(
    plain: onnx.ModelProto, tiny_spec: ModelSpec
) -> None:
    mixed = to_mixed(plain, ())
    assert {entry.version for entry in mixed.opset_import} == {MIXED_OPSET}
    kinds = types(mixed)
    for node in mixed.graph.node:
        if node.op_type == "DequantizeLinear":
            assert kinds[node.input[1]] == kinds[node.output[0]] == HALF
    assert json.loads(product_types(mixed)) == {"one": "int8", "two": "int8", "last": "int8"}
    check_model(attach_contract(mixed, tiny_spec.with_changes(precision="int8")), "it")


def test_no_weight_moves_by_more_than_half_a_step(plain: onnx.ModelProto) -> None:
    before, after = (
        {t.name: numpy_helper.to_array(t).astype(np.float64) for t in model.graph.initializer}
        for model in (plain, to_mixed(plain, ()))
    )
    for name in [name for name in before if name.endswith(".weight_int8")]:
        scales = before[f"{name}.scale"], after[f"{name}.scale.half"]
        along = (-1, 1, 1, 1) if before[name].ndim == 4 else (1, -1)
        old, new = (
            integers * scale.reshape(along)
            for integers, scale in zip((before[name], after[name]), scales, strict=True)
        )
        assert np.all(np.abs(old - new) <= 0.5 * scales[1].reshape(along) * (1 + 1e-6))
        assert np.all(scales[1] > 0)


def test_the_answers_are_those_of_the_plain_graph(
    plain: onnx.ModelProto, crops: Crops, tiny_spec: ModelSpec, tmp_path: Path
) -> None:
    answers = []
    for name, core in (("plain", plain), ("mixed", to_mixed(plain, ()))):
        path = tmp_path / f"{name}.onnx"
        onnx.save(attach_contract(core, tiny_spec.with_changes(precision="int8")), path)
        with Predictor(path, backend="onnxruntime") as predictor:
            answers.append(predictor.predict_tensor(crops.tensors)[1])
    assert np.abs(answers[0] - answers[1]).max() < 0.05


def test_an_island_keeps_its_own_dequantisers_in_float32(
    core: onnx.ModelProto, crops: Crops
) -> None:
    plain = quantize(core, crops, "canonical")
    reader = helper.make_node(
        "Conv", ["b.dequantized", "two.weight_int8.dequantized"], ["e"], "twin", pads=[1] * 4
    )
    added = helper.make_node("Add", ["c", "e"], ["f"], "sum")
    nodes = [*plain.graph.node]
    index = next(i for i, node in enumerate(nodes) if node.name == "two")
    nodes[index + 1 : index + 1] = [reader, added]
    for node in nodes[index + 3 :]:
        for position, name in enumerate(node.input):
            if name == "c":
                node.input[position] = "f"
    del plain.graph.node[:]
    plain.graph.node.extend(nodes)
    mixed = to_mixed(plain, {"twin"})
    kinds = types(mixed)
    found = {node.name: node for node in mixed.graph.node}
    assert kinds[found["twin"].output[0]] == TensorProto.FLOAT
    assert kinds[found["two"].output[0]] == HALF
    assert json.loads(product_types(mixed))["twin"] == "int8"
    makers = {name: node.op_type for node in mixed.graph.node for name in node.output}
    for name in ("two", "twin"):
        assert {makers[given] for given in found[name].input} == {"DequantizeLinear"}


def test_the_graph_that_was_given_stays_as_it_is(plain: onnx.ModelProto) -> None:
    before = plain.SerializeToString(deterministic=True)
    to_mixed(plain, ())
    assert plain.SerializeToString(deterministic=True) == before
