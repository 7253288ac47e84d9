"""The lint: a planted fault for each rule, and nothing found in models that TensorRT takes."""

from __future__ import annotations

from collections.abc import Callable
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


def asymmetric() -> onnx.ModelProto:
    return model(CAST, QUANTIZE, DEQUANTIZE, stored={"s": SCALE, "z": np.int8(3)})


def uint8_quantizers() -> onnx.ModelProto:
    return model(CAST, QUANTIZE, DEQUANTIZE, stored={"s": SCALE, "z": np.uint8(0)})


def uint8_by_default() -> onnx.ModelProto:
    pair = node("QuantizeLinear", "x,s", "q"), node("DequantizeLinear", "q,s", "logits")
    return model(CAST, *pair, stored={"s": SCALE})


def scale_of_zero() -> onnx.ModelProto:
    return model(CAST, QUANTIZE, DEQUANTIZE, stored={"s": np.float32(0), "z": ZERO})


def scale_of_nan() -> onnx.ModelProto:
    return model(CAST, QUANTIZE, DEQUANTIZE, stored={"s": np.float32("nan"), "z": ZERO})


def activation_per_channel() -> onnx.ModelProto:
    stored = {"s": np.full(4, 0.1, np.float32), "z": np.zeros(4, np.int8)}
    return model(CAST, QUANTIZE, DEQUANTIZE, stored=stored)


def transposed_before_cast() -> onnx.ModelProto:
    turned = node("Transpose", "crop", "t", perm=[1, 0])
    return model(turned, node("Cast", "t", "logits", to=FLOAT))


def operator_that_is_lacking() -> onnx.ModelProto:
    return model(CAST, node("DynamicQuantizeLinear", "x", "q,s,z"), DEQUANTIZE)


def operator_of_onnxruntime() -> onnx.ModelProto:
    fused = helper.make_node("FusedMatMul", ["x", "x"], ["logits"], domain="com.microsoft")
    return model(CAST, fused, opsets=(("", 18), ("com.microsoft", 1)))


def opset_not_imported() -> onnx.ModelProto:
    return type_that_nobody_knows(opsets=(("", 18),))


def half_times_float() -> onnx.ModelProto:
    stored = {"w": np.ones((4, 2), np.float16)}
    return model(CAST, node("MatMul", "x,w", "logits"), stored=stored)


def normalisation_of_two_types() -> onnx.ModelProto:
    """ONNX allows it; TensorRT's parser does from 10.7 on, in a strongly typed network."""
    statistics = {name: np.ones(4, np.float32) for name in ("scale", "bias", "mean", "var")}
    half = node("Cast", "crop", "h", to=HALF)
    normed = node("BatchNormalization", "h,scale,bias,mean,var", "logits")
    return model(half, normed, stored=statistics, outputs={"logits": HALF})


def weights_elsewhere() -> onnx.ModelProto:
    made = model(CAST, node("MatMul", "x,w", "logits"), stored={"w": np.ones((4, 2), np.float32)})
    weight = made.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="weights.bin")
    return made


def quantized_bias() -> onnx.ModelProto:
    stored = {"b": np.ones(4, np.int32), "s": SCALE, "z": np.int32(0)}
    bias = node("DequantizeLinear", "b,s,z", "d")
    return model(CAST, bias, node("Add", "x,d", "logits"), stored=stored)


def product_of_integers() -> onnx.ModelProto:
    whole = node("Cast", "crop", "i", to=TensorProto.INT32)
    stored = {"w": np.ones((4, 2), np.int32)}
    product, back = node("MatMul", "i,w", "y"), node("Cast", "y", "logits", to=FLOAT)
    return model(whole, product, back, stored=stored)


def doubles() -> onnx.ModelProto:
    wide = node("Cast", "crop", "d", to=TensorProto.DOUBLE)
    return model(wide, node("Sqrt", "d", "e"), node("Cast", "e", "logits", to=FLOAT))


def short_integers() -> onnx.ModelProto:
    short = node("Cast", "crop", "i", to=TensorProto.INT16)
    return model(short, node("Abs", "i", "j"), node("Cast", "j", "logits", to=FLOAT))


def type_that_nobody_knows(
    opsets: tuple[tuple[str, int], ...] = (("", 18), ("ours", 1)),
) -> onnx.ModelProto:
    odd = helper.make_node("Odd", ["x"], ["y"], domain="ours")
    return model(CAST, odd, node("Relu", "y", "z"), node("Relu", "z", "logits"), opsets=opsets)


def axes_at_run_time() -> onnx.ModelProto:
    inputs = {"crop": (UINT8, ["batch", 4]), "axes": (TensorProto.INT64, [1])}
    return model(CAST, node("ReduceMean", "x,axes", "logits"), inputs=inputs)


def scale_at_run_time() -> onnx.ModelProto:
    inputs = {"crop": (UINT8, ["batch", 4]), "s": (FLOAT, [])}
    return model(CAST, QUANTIZE, DEQUANTIZE, stored={"z": ZERO}, inputs=inputs)


def mish() -> onnx.ModelProto:
    return model(CAST, node("Mish", "x", "logits"))


FAULTS: dict[Callable[[], onnx.ModelProto], str] = {
    asymmetric: "zero-point",
    scale_of_zero: "scale",
    scale_of_nan: "scale",
    transposed_before_cast: "uint8",
    operator_that_is_lacking: "operator",
    operator_of_onnxruntime: "operator",
    opset_not_imported: "operator",
    half_times_float: "mixed-floats",
    weights_elsewhere: "external-data",
    quantized_bias: "type",
    product_of_integers: "type",
    short_integers: "type",
    type_that_nobody_knows: "operator",
    axes_at_run_time: "constant-input",
}


TAKEN = (
    uint8_quantizers,
    uint8_by_default,
    activation_per_channel,
    normalisation_of_two_types,
    doubles,
    scale_at_run_time,
    mish,
)
"""What looks odd, and TensorRT takes."""


@pytest.mark.parametrize("made", TAKEN, ids=lambda made: made.__name__)
def test_what_tensorrt_takes_is_no_finding(made: Callable[[], onnx.ModelProto]) -> None:
    assert lint(made()) == ()


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


@pytest.mark.parametrize("made", TAKEN, ids=lambda made: made.__name__)
def test_nvidias_own_builder_takes_it(
    nvidia: TensorRtDouble, made: Callable[[], onnx.ModelProto]
) -> None:
    build(nvidia.bindings, made())


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_nvidias_own_builder_refuses_a_planted_fault(
    nvidia: TensorRtDouble, fault: Callable[[], onnx.ModelProto]
) -> None:
    with pytest.raises(RefusedError):
        build(nvidia.bindings, fault())


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_planted_fault_breaks_its_own_rule_alone(fault: Callable[[], onnx.ModelProto]) -> None:
    assert rules(fault()) == {FAULTS[fault]}


def test_every_rule_has_a_planted_fault() -> None:
    assert {*FAULTS.values()} == RULES.keys()


def test_the_error_says_where_and_what_to_do() -> None:
    with pytest.raises(GateError, match=r"refuse model\.onnx: QuantizeLinear_q: .*symmetric") as it:
        check_model(asymmetric(), "model.onnx")
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
