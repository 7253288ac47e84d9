"""The three forms of INT8: what is in them, and that engines really compute so."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from fer_calib.crops import Crops
from fer_calib.layers import CoreGraph
from fer_calib.observation import observe
from fer_calib.quantisation import quantize
from fer_calib.running import probabilities_of
from fer_calib.schemes import SCHEMES
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.backends.onnxruntime_engine import ort
from fer_edge.errors import ConfigurationError
from fer_edge.evaluation.agreement import agreement
from fer_edge.predictor import Predictor
from fer_export.contract_nodes import attach_contract

ENGINES = ["onnxruntime", "openvino"]
LAYERS = ["stem", "depthwise", "pointwise", "last", "head"]
INTEGER_KERNELS = {"MatMulIntegerToFloat", "QGemm", "QLinearConv", "QLinearMatMul"}
HINT = "INFERENCE_PRECISION_HINT"


def arrays(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}


def nodes(model: onnx.ModelProto, op: str) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == op]


def need(engine: str) -> None:
    pytest.importorskip(engine, reason=f"no {engine} to run the graph with")


@pytest.fixture(params=["cnn", "transformer"])
def core(request: pytest.FixtureRequest) -> onnx.ModelProto:
    model = request.getfixturevalue(request.param)
    assert isinstance(model, onnx.ModelProto)
    return model


# --- accuracy, in every engine


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_int8_answers_as_float32_does(
    scheme: str, engine: str, core: onnx.ModelProto, crops: Crops
) -> None:
    need(engine)
    expected = probabilities_of(core, crops, engine)
    found = agreement(expected, probabilities_of(quantize(core, crops, scheme), crops, engine))
    assert found.top1 >= 0.97
    assert found.mean_kl <= 0.03


# --- the canonical form, as TensorRT wants it


def test_the_canonical_form_has_zero_points_of_0_no_uint8_and_no_integer_bias(
    core: onnx.ModelProto, crops: Crops
) -> None:
    model = quantize(core, crops, "canonical")
    found = arrays(model)
    quantisers = nodes(model, "QuantizeLinear") + nodes(model, "DequantizeLinear")
    assert quantisers
    for node in quantisers:
        zero_point = found[node.input[2]]
        assert zero_point.dtype == np.int8
        assert not zero_point.any()
    inferred = onnx.shape_inference.infer_shapes(model)
    kinds = {value.type.tensor_type.elem_type for value in inferred.graph.value_info}
    assert TensorProto.INT8 in kinds
    assert TensorProto.UINT8 not in kinds
    biases = [value for name, value in found.items() if name.endswith(".bias")]
    assert len(biases) >= 2
    assert all(bias.dtype == np.float32 for bias in biases)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_quantiser_is_followed_by_its_dequantiser(
    scheme: str, core: onnx.ModelProto, crops: Crops
) -> None:
    model = quantize(core, crops, scheme)
    partners = {node.input[0]: node for node in nodes(model, "DequantizeLinear")}
    for node in nodes(model, "QuantizeLinear"):
        readers = [n for n in model.graph.node if node.output[0] in n.input]
        assert readers == [partners[node.output[0]]]
        assert list(readers[0].input[1:]) == list(node.input[1:])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_activations_have_one_scale_and_weights_one_per_output_channel(
    scheme: str, core: onnx.ModelProto, crops: Crops
) -> None:
    model = quantize(core, crops, scheme)
    found = arrays(model)
    for node in nodes(model, "QuantizeLinear"):
        assert found[node.input[1]].shape == ()
    for layer in CoreGraph(core).layers:
        weight = CoreGraph(core).array(layer.weight)
        scales = found[f"{layer.name}.weight_int8.scale"]
        assert scales.shape == (weight.shape[layer.axis],)
        along = [-1 if axis == layer.axis else 1 for axis in range(weight.ndim)]
        given = found[f"{layer.name}.weight_int8"] * scales.reshape(along)
        assert np.abs(given - weight).max() <= scales.max() / 2 + 1e-6


@pytest.mark.parametrize("scheme", SCHEMES)
def test_only_products_and_residual_sums_read_integers(
    scheme: str, transformer: onnx.ModelProto, crops: Crops
) -> None:
    model = quantize(transformer, crops, scheme)
    dequantised = {name for node in nodes(model, "DequantizeLinear") for name in node.output}
    readers = {n.op_type for n in model.graph.node if dequantised & set(n.input)}
    # the patch embedding's output is closed for ONNX Runtime, and only reshaped
    assert readers - {"Reshape"} == {"Conv", "MatMul", "Gemm"}


def test_the_skip_of_a_residual_sum_is_quantised_and_the_fresh_operand_is_not(
    cnn: onnx.ModelProto, crops: Crops
) -> None:
    by_scheme = {
        name: next(n for n in quantize(cnn, crops, name).graph.node if n.name == "node_sum")
        for name in SCHEMES
    }
    assert list(by_scheme["canonical"].input) == ["pointwise", "stem.act"]
    assert list(by_scheme["openvino"].input) == ["pointwise.dequantized", "stem.act.dequantized"]


# --- kernels


def test_onnx_runtime_fuses_its_own_form_into_integer_kernels(
    core: onnx.ModelProto, crops: Crops, tmp_path: Path
) -> None:
    settings = ort.SessionOptions()
    settings.log_severity_level = 3
    settings.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    model = quantize(core, crops, "onnxruntime")
    ort.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    kernels = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    integer = [op for op in kernels if op in INTEGER_KERNELS]
    assert len(integer) == len(CoreGraph(core).layers)
    assert not {"Conv", "FusedConv", "Gemm", "FusedGemm", "FusedMatMul"} & set(kernels)


@pytest.mark.parametrize("scheme", ["canonical", "openvino"])
def test_openvino_runs_every_layer_in_8_bits(
    scheme: str, core: onnx.ModelProto, crops: Crops
) -> None:
    need("openvino")
    from fer_edge.backends.openvino_runtime import ov

    model = quantize(core, crops, scheme).SerializeToString()
    engine = ov.Core()
    compiled = engine.compile_model(engine.read_model(model), "CPU", {HINT: "f32"})
    told = [node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops()]
    precisions = [
        node["runtimePrecision"].value
        for node in told
        if node["layerType"].value in {"Convolution", "FullyConnected"}
    ]
    assert len(precisions) == len(CoreGraph(core).layers)
    assert set(precisions) <= {"i8", "u8"}


def test_zero_points_are_those_of_the_scheme(cnn: onnx.ModelProto, crops: Crops) -> None:
    ours, theirs = (arrays(quantize(cnn, crops, name)) for name in ("openvino", "onnxruntime"))
    for found in (ours, theirs):  # uint8 starts at zero behind a ReLU
        zero_point = found["stem.act.zero_point"]
        assert (zero_point.dtype, int(zero_point)) == (np.uint8, 0)
    # OpenVINO gets symmetric int8 where values are negative
    assert (ours["sum.zero_point"].dtype, int(ours["sum.zero_point"])) == (np.int8, 0)
    assert int(theirs["sum.zero_point"]) > 0


def test_the_forms_for_x86_cannot_overflow_where_there_is_no_vnni(
    core: onnx.ModelProto, crops: Crops
) -> None:
    """There, two products of uint8 and int8 are added in 16 bits."""
    largest = {}
    for scheme in SCHEMES:
        model = quantize(core, crops, scheme)
        weights = [v for name, v in arrays(model).items() if name.endswith(".weight_int8")]
        largest[scheme] = max(int(np.abs(weight.astype(int)).max()) for weight in weights)
    assert largest["canonical"] == 127
    assert 2 * 255 * largest["onnxruntime"] < 2**15
    assert 2 * 255 * largest["openvino"] < 2**15


# --- what a caller may rely on


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_contract_goes_around_it_and_any_batch_runs(
    scheme: str, cnn: onnx.ModelProto, crops: Crops, tmp_path: object
) -> None:
    path = f"{tmp_path}/int8.onnx"
    spec = ModelSpec(crops.spec.network, crops.spec.input, precision="int8")
    onnx.save(attach_contract(quantize(cnn, crops, scheme), spec), path)
    with Predictor(path, backend="onnxruntime") as predictor:
        whole, _ = predictor.predict_tensor(crops.tensors[:7])
        for size in (1, 2):
            part, _ = predictor.predict_tensor(crops.tensors[:size])
            np.testing.assert_allclose(part, whole[:size], atol=1e-4)


def test_the_core_stays_as_it_was_and_gives_the_same_graph_again(
    cnn: onnx.ModelProto, crops: Crops
) -> None:
    before = cnn.SerializeToString()
    observed = observe(cnn, crops)
    for scheme in ("onnxruntime", "canonical"):  # one observation serves both
        assert quantize(cnn, observed, scheme) == quantize(cnn, crops, scheme)
    assert cnn.SerializeToString() == before


def test_float_weights_do_not_stay_in_the_file(cnn: onnx.ModelProto, crops: Crops) -> None:
    kept = arrays(quantize(cnn, crops, "canonical"))
    assert not [name for name in kept if name.endswith(".weight")]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", ["stem", "depthwise", "head"])
def test_a_layer_that_is_kept_computes_in_float(
    name: str, scheme: str, cnn: onnx.ModelProto, crops: Crops
) -> None:
    model = quantize(cnn, crops, scheme, keep_float=[name])
    stored = arrays(model)
    integer = [
        layer.name for layer in CoreGraph(cnn).layers if f"{layer.name}.weight_int8" in stored
    ]
    assert sorted([*integer, name]) == sorted(layer.name for layer in CoreGraph(cnn).layers)
    assert f"{name}.weight" in stored
    found = agreement(probabilities_of(cnn, crops), probabilities_of(model, crops))
    assert found.top1 >= 0.95


def test_a_channel_that_is_nearly_dead_keeps_its_bias(cnn: onnx.ModelProto, crops: Crops) -> None:
    """Its products are so small that its bias would need more than 32 bits."""
    dying = deepcopy(cnn)
    weight = next(item for item in dying.graph.initializer if item.name == "last.weight")
    values = numpy_helper.to_array(weight).copy()
    values[:12] *= 1e-12
    values[12] = 0
    weight.CopyFrom(numpy_helper.from_array(values, "last.weight"))
    given = probabilities_of(quantize(dying, crops, "onnxruntime"), crops)
    found = agreement(probabilities_of(dying, crops), given)
    assert found.mean_kl <= 0.01


def test_a_tensor_that_is_always_zero_gets_a_scale_that_can_be_used(
    cnn: onnx.ModelProto, crops: Crops
) -> None:
    silent = deepcopy(cnn)
    for item in silent.graph.initializer:
        if item.name in {"last.weight", "last.bias"}:
            item.CopyFrom(numpy_helper.from_array(0 * numpy_helper.to_array(item), item.name))
    for scheme in SCHEMES:
        given = probabilities_of(quantize(silent, crops, scheme), crops)
        np.testing.assert_allclose(given, probabilities_of(silent, crops), atol=0.05)


# --- what is refused


@pytest.mark.parametrize(
    ("scheme", "kept", "message"),
    [
        ("int4", [], "unknown scheme 'int4'; there are canonical, onn"),
        ("canonical", ["tail"], "no layer tail; it has stem, depthwise"),
        ("canonical", LAYERS, "nothing would be INT8"),
    ],
)
def test_what_cannot_be_quantised_so_is_refused(
    scheme: str, kept: list[str], message: str, cnn: onnx.ModelProto, crops: Crops
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        quantize(cnn, crops, scheme, keep_float=kept)
