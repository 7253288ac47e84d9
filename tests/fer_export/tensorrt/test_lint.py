"""The lint: a planted fault for each rule, and nothing found in models that TensorRT takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tensorrt_double.engine import TensorRtDouble

from fer_edge.artifacts.model import model_path
from fer_edge.errors import GateError
from fer_export.tensorrt.lint import RULES, check_model, lint
from fer_export.tensorrt.operators import CONSTANT_INPUTS, OPERATORS

FLOAT, HALF, UINT8, INT8 = (
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.UINT8,
    TensorProto.INT8,
)


def node(op: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(
        op, inputs.split(","), outputs.split(","), f"{op}_{outputs}", **attributes
    )


def model(
    *nodes: onnx.NodeProto,
    stored: dict[str, Any] | None = None,
    inputs: dict[str, tuple[int, list[Any]]] | None = None,
    outputs: dict[str, int] | None = None,
    opsets: tuple[tuple[str, int], ...] = (("", 18),),
    functions: tuple[onnx.FunctionProto, ...] = (),
) -> onnx.ModelProto:
    """A model from ``crop`` to ``logits``; nodes in between are the test's."""
    graph = helper.make_graph(
        list(nodes),
        "planted",
        [
            helper.make_tensor_value_info(name, kind, shape)
            for name, (kind, shape) in (inputs or {"crop": (UINT8, ["batch", 4])}).items()
        ],
        [
            helper.make_tensor_value_info(name, kind, None)
            for name, kind in (outputs or {"logits": FLOAT}).items()
        ],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in (stored or {}).items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid(*one) for one in opsets])
    made.functions.extend(functions)
    return made


CAST = node("Cast", "crop", "x", to=FLOAT)
SCALE = np.float32(0.1)
ZERO = np.int8(0)
QUANTIZE = node("QuantizeLinear", "x,s,z", "q")
DEQUANTIZE = node("DequantizeLinear", "q,s,z", "logits")


def rules(made: onnx.ModelProto) -> set[str]:
    return {finding.rule for finding in lint(made)}


# ---- what TensorRT takes


def test_the_packaged_model_is_clean() -> None:
    folder = model_path("default")
    (file,) = folder.glob("model.onnx")
    assert lint(onnx.load(file)) == ()


def test_an_artifact_of_ours_is_clean(prepared: Path) -> None:
    check_model(onnx.load(prepared), "it")


def test_symmetric_pairs_are_clean_and_weights_may_have_a_scale_per_channel() -> None:
    assert lint(model(CAST, QUANTIZE, DEQUANTIZE, stored={"s": SCALE, "z": ZERO})) == ()
    stored = {
        "w": np.ones((4, 2), np.int8),
        "s": np.array([0.1, 0.2], np.float32),
        "z": np.zeros(2, np.int8),
    }
    weights = node("DequantizeLinear", "w,s,z", "v", axis=1)
    assert lint(model(CAST, weights, node("MatMul", "x,v", "logits"), stored=stored)) == ()


def test_fp16_with_casts_around_its_islands_is_clean() -> None:
    made = model(
        CAST,
        node("Cast", "x", "h", to=HALF),
        node("MatMul", "h,w", "y"),
        node("Cast", "y", "f", to=FLOAT),
        node("Softmax", "f", "logits"),
        stored={"w": np.ones((4, 2), np.float16)},
    )
    assert lint(made) == ()


@pytest.mark.parametrize(("op", "found"), [("Relu", set()), ("Det", {"operator"})])
def test_a_local_function_is_looked_into(op: str, found: set[str]) -> None:
    body = [helper.make_node(op, ["a"], ["b"])]
    inner = helper.make_function("ours", "Odd", ["a"], ["b"], body, [helper.make_opsetid("", 18)])
    call = helper.make_node("Odd", ["x"], ["logits"], domain="ours")
    made = model(CAST, call, opsets=(("", 18), ("ours", 1)), functions=(inner,))
    assert rules(made) == found


# ---- planted faults


INT32, INT64 = TensorProto.INT32, TensorProto.INT64
ODD = node("Odd", "x", "y", domain="ours"), node("Relu", "y", "z"), node("Relu", "z", "logits")
FUSED = node("FusedMatMul", "x,x", "logits", domain="com.microsoft")
PAIR = CAST, QUANTIZE, DEQUANTIZE
CROP = {"crop": (UINT8, ["batch", 4])}


def weights_elsewhere() -> onnx.ModelProto:
    made = model(CAST, node("MatMul", "x,w", "logits"), stored={"w": np.ones((4, 2), np.float32)})
    weight = made.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="weights.bin")
    return made


FAULTS: dict[str, tuple[str, onnx.ModelProto]] = {
    "asymmetric": ("zero-point", model(*PAIR, stored={"s": SCALE, "z": np.int8(3)})),
    "scale of zero": ("scale", model(*PAIR, stored={"s": np.float32(0), "z": ZERO})),
    "scale of nan": ("scale", model(*PAIR, stored={"s": np.float32("nan"), "z": ZERO})),
    "transposed before its cast": (
        "uint8",
        model(node("Transpose", "crop", "t", perm=[1, 0]), node("Cast", "t", "logits", to=FLOAT)),
    ),
    "an operator that is lacking": (
        "operator",
        model(CAST, node("DynamicQuantizeLinear", "x", "q,s,z"), DEQUANTIZE),
    ),
    "an operator of ONNX Runtime": (
        "operator",
        model(CAST, FUSED, opsets=(("", 18), ("com.microsoft", 1))),
    ),
    "an opset that is not imported": ("operator", model(CAST, *ODD)),
    "a type that nobody knows": ("operator", model(CAST, *ODD, opsets=(("", 18), ("ours", 1)))),
    "half times float": (
        "mixed-floats",
        model(CAST, node("MatMul", "x,w", "logits"), stored={"w": np.ones((4, 2), np.float16)}),
    ),
    "weights elsewhere": ("external-data", weights_elsewhere()),
    "a quantised bias": (
        "type",
        model(
            CAST,
            node("DequantizeLinear", "b,s,z", "d"),
            node("Add", "x,d", "logits"),
            stored={"b": np.ones(4, np.int32), "s": SCALE, "z": np.int32(0)},
        ),
    ),
    "a product of integers": (
        "type",
        model(
            node("Cast", "crop", "i", to=INT32),
            node("MatMul", "i,w", "y"),
            node("Cast", "y", "logits", to=FLOAT),
            stored={"w": np.ones((4, 2), np.int32)},
        ),
    ),
    "short integers": (
        "type",
        model(
            node("Cast", "crop", "i", to=TensorProto.INT16),
            node("Abs", "i", "j"),
            node("Cast", "j", "logits", to=FLOAT),
        ),
    ),
    "axes at run time": (
        "constant-input",
        model(CAST, node("ReduceMean", "x,axes", "logits"), inputs={**CROP, "axes": (INT64, [1])}),
    ),
}
"""A model with a planted fault, and the rule that it breaks."""

TAKEN: dict[str, onnx.ModelProto] = {
    "uint8 quantisers": model(*PAIR, stored={"s": SCALE, "z": np.uint8(0)}),
    "uint8 by default": model(
        CAST,
        node("QuantizeLinear", "x,s", "q"),
        node("DequantizeLinear", "q,s", "logits"),
        stored={"s": SCALE},
    ),
    "an activation per channel": model(
        *PAIR, stored={"s": np.full(4, 0.1, np.float32), "z": np.zeros(4, np.int8)}
    ),
    # ONNX allows it; TensorRT's parser does from 10.7 on, in a strongly typed network
    "a normalisation of two types": model(
        node("Cast", "crop", "h", to=HALF),
        node("BatchNormalization", "h,scale,bias,mean,var", "logits"),
        stored={name: np.ones(4, np.float32) for name in ("scale", "bias", "mean", "var")},
        outputs={"logits": HALF},
    ),
    "doubles": model(
        node("Cast", "crop", "d", to=TensorProto.DOUBLE),
        node("Sqrt", "d", "e"),
        node("Cast", "e", "logits", to=FLOAT),
    ),
    "a scale at run time": model(*PAIR, stored={"z": ZERO}, inputs={**CROP, "s": (FLOAT, [])}),
    "mish": model(CAST, node("Mish", "x", "logits")),
}
"""What looks odd, and TensorRT takes."""


@pytest.mark.parametrize("name", TAKEN)
def test_what_tensorrt_takes_is_no_finding(name: str) -> None:
    assert lint(TAKEN[name]) == ()


class RefusedError(Exception):
    """NVIDIA's parser or builder does not take a model."""


def build(trt: Any, made: onnx.ModelProto) -> None:
    """Parse and build with NVIDIA's own; every dynamic axis is 1 long."""
    log = trt.Logger(trt.Logger.INTERNAL_ERROR)
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(made.SerializeToString()):
        raise RefusedError("the parser")
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    for given in inputs:
        shape = [max(size, 1) for size in given.shape]
        profile.set_shape(given.name, shape, shape, shape)
    if any(size < 0 for given in inputs for size in given.shape):
        config.add_optimization_profile(profile)
    if builder.build_serialized_network(network, config) is None:
        raise RefusedError("the builder")


@pytest.mark.parametrize("name", TAKEN)
def test_nvidias_own_builder_takes_it(nvidia: TensorRtDouble, name: str) -> None:
    build(nvidia.bindings, TAKEN[name])


@pytest.mark.parametrize("name", FAULTS)
def test_nvidias_own_builder_refuses_a_planted_fault(nvidia: TensorRtDouble, name: str) -> None:
    with pytest.raises(RefusedError):
        build(nvidia.bindings, FAULTS[name][1])


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_breaks_its_own_rule_alone(name: str) -> None:
    rule, made = FAULTS[name]
    assert rules(made) == {rule}


def test_every_rule_has_a_planted_fault() -> None:
    assert {rule for rule, _ in FAULTS.values()} == RULES.keys()


def test_the_error_says_where_and_what_to_do() -> None:
    with pytest.raises(GateError, match=r"refuse model\.onnx: QuantizeLinear_q: .*symmetric") as it:
        check_model(FAULTS["asymmetric"][1], "model.onnx")
    assert it.value.exit_code == 1
    assert "\n" not in str(it.value)


def test_a_long_list_is_cut_and_counted() -> None:
    nodes = [node("Det", "x", f"d{index}") for index in range(12)]
    last = node("Cast", "x", "logits", to=FLOAT)
    with pytest.raises(GateError, match="and 4 more"):
        check_model(model(CAST, *nodes, last), "it")


def test_the_table_of_operators_names_operators_of_onnx() -> None:
    known = {
        schema.name
        for schema in onnx.defs.get_all_schemas_with_history()
        if schema.domain == "" and schema.since_version <= 18
    }
    assert OPERATORS.keys() <= known
    assert CONSTANT_INPUTS.keys() <= OPERATORS.keys()
