"""Half precision: islands where float16 is not enough, found on crops, and only there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from fer_calib.crops import Crops
from fer_edge.artifacts.spec import InputSpec, ModelSpec, NetworkSpec
from fer_edge.backends.onnxruntime_engine import ort
from fer_edge.backends.openvino_runtime import ov
from fer_edge.errors import ArtifactError, DataError, GateError
from fer_edge.images.preprocess import preprocess_all
from fer_edge.images.synthetic import synthetic_crops
from fer_edge.torch_model import network
from fer_export.contract_nodes import attach_contract
from fer_export.core import export_core
from fer_export.half import HalfCore, to_half
from fer_export.half_graph import FloatGraph, to_half_graph
from fer_export.half_probe import broken_tensors, observe
from fer_export.source import from_onnx

HALF, FLOAT = TensorProto.FLOAT16, TensorProto.FLOAT
SPEC = ModelSpec(NetworkSpec("planted"), InputSpec(16, 16), temperature=1.5)
Weights = dict[str, npt.NDArray[np.float32]]


def drawings(spec: ModelSpec = SPEC, count: int = 24, seed: int = 0) -> npt.NDArray[np.uint8]:
    return preprocess_all(synthetic_crops(count, seed), spec.input)


def core_of(nodes: list[onnx.NodeProto], weights: Weights, opset: int = 18) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "core",
        [helper.make_tensor_value_info("normalized", FLOAT, ["batch", 1, 16, 16])],
        [helper.make_tensor_value_info("logits", FLOAT, ["batch", 7])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def plain_core(gain: float = 1.0, classifier_gain: float = 1.0) -> onnx.ModelProto:
    """Two convolutions, squeeze and excite, a mean and a classifier.

    The first convolution's output is ``gain`` times as large as needed and scaled back after its
    ReLU; the classifier is scaled by ``classifier_gain``, and its logits scaled back.
    """
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> npt.NDArray[np.float32]:
        return (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    node = helper.make_node
    return core_of(
        [
            node("Conv", ["normalized", "w1"], ["wide"], "first", pads=[1, 1, 1, 1]),
            node("Relu", ["wide"], ["large"], "relu"),
            node("Mul", ["large", "back"], ["features"], "scale_back"),
            node("Conv", ["features", "w2"], ["mixed"], "second", pads=[1, 1, 1, 1]),
            node("ReduceMean", ["features", "space"], ["squeezed"], "squeeze", keepdims=1),
            node("Sigmoid", ["squeezed"], ["gate"], "excite"),
            node("Mul", ["mixed", "gate"], ["gated"], "gated"),
            node("MaxPool", ["gated"], ["pooled"], "pool", kernel_shape=[8, 8], strides=[8, 8]),
            node("Flatten", ["pooled"], ["flat"], "flatten"),
            node("Gemm", ["flat", "w3"], ["big_logits"], "classifier"),
            node("Mul", ["big_logits", "logits_back"], ["logits"], "logits_back"),
        ],
        {
            "w1": normal(8, 1, 3, 3) * np.float32(gain),
            "back": np.float32([1 / gain]),
            "w2": normal(8, 8, 3, 3),
            "space": np.array([2, 3]),  # type: ignore[dict-item]
            "w3": normal(7, 8 * 2 * 2).T * np.float32(4 * classifier_gain),
            "logits_back": np.float32([1 / classifier_gain]),
        },
    )


def names_of(half: HalfCore) -> set[str]:
    return {island.node for island in half.islands}


def probabilities_of(
    core: onnx.ModelProto, spec: ModelSpec, crops: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """From ONNX Runtime and from OpenVINO, both told to compute in float32 where they may."""
    artifact = attach_contract(core, spec).SerializeToString()
    (by_ort,) = ort.InferenceSession(artifact).run(["probabilities"], {"crop": crops})
    engine = ov.Core()
    compiled = engine.compile_model(
        engine.read_model(artifact), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    return by_ort, compiled({"crop": crops})["probabilities"]


def element_types(model: onnx.ModelProto) -> dict[str, int]:
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    types = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    return types | {tensor.name: tensor.data_type for tensor in graph.initializer}


# --- what is half


def test_a_network_of_moderate_size_is_half_from_end_to_end() -> None:
    half = to_half(plain_core(), SPEC, drawings(), tolerance=0.01)
    types = element_types(half.model)
    for node in half.model.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            assert types[node.input[1]] == HALF
            assert types[node.output[0]] == HALF
    casts = [node.output[0] for node in half.model.graph.node if node.op_type == "Cast"]
    if not half.islands:
        assert casts == ["normalized.half", "logits"]


def test_the_interface_stays_float32() -> None:
    graph = to_half(plain_core(), SPEC, drawings(), tolerance=0.01).model.graph
    interface = {v.name: v.type.tensor_type.elem_type for v in (*graph.input, *graph.output)}
    assert interface == {"normalized": FLOAT, "logits": FLOAT}


def test_the_core_stays_as_it_was_and_gives_the_same_bytes_again() -> None:
    core = plain_core(gain=1e5)
    before = core.SerializeToString()
    first, second = (to_half(core, SPEC, drawings(), tolerance=0.01) for _ in range(2))
    assert core.SerializeToString() == before
    assert first.model.SerializeToString() == second.model.SerializeToString()
    assert first.islands == second.islands


# --- planted overflow


def test_float16_without_islands_would_overflow() -> None:
    graph = FloatGraph(plain_core(gain=1e5))
    half = to_half_graph(graph, in_float=())
    logits, broken = broken_tensors(half, Crops(drawings(), SPEC))
    assert broken[0] == "wide"
    assert not np.isfinite(logits).all()


def test_a_block_with_activations_of_1e5_becomes_an_island_and_nothing_else_of_it() -> None:
    half = to_half(plain_core(gain=1e5), SPEC, drawings(), tolerance=0.01)
    reasons = {island.node: island.reason for island in half.islands}
    assert {"first", "relu", "scale_back"} <= reasons.keys()
    assert {"second", "gated", "classifier"}.isdisjoint(reasons)
    assert reasons["relu"].startswith("it reads up to")
    assert half.largest_activation > 65504


@pytest.mark.parametrize("gain", [1.0, 1e5])
def test_both_engines_agree_with_float32(gain: float) -> None:
    core = plain_core(gain)
    half = to_half(core, SPEC, drawings(), tolerance=5e-3)
    crops = drawings(count=200, seed=9)
    expected, _ = probabilities_of(core, SPEC, crops)
    for given in probabilities_of(half.model, SPEC.with_changes(precision="fp16"), crops):
        assert np.abs(given - expected).max() <= 5e-3
        assert (given.argmax(axis=1) == expected.argmax(axis=1)).mean() >= 0.998


def test_a_mean_that_overflows_while_it_adds_becomes_an_island() -> None:
    """Each element is below 300, and their sum over 16 x 16 above what float16 holds."""
    node = helper.make_node
    core = core_of(
        [
            node("Add", ["normalized", "offset"], ["bright"], "brighten"),
            node("GlobalAveragePool", ["bright"], ["pooled"], "pool"),
            node("Sub", ["pooled", "offset"], ["centred"], "centre"),
            node("Flatten", ["centred"], ["flat"], "flatten"),
            node("Gemm", ["flat", "w"], ["logits"], "classifier"),
        ],
        {"offset": np.float32([256]), "w": np.ones((1, 7), np.float32)},
    )
    seen = observe(FloatGraph(core), Crops(drawings(), SPEC))
    assert seen.peaks["bright"] < 300
    assert seen.sums["pool"] > 65504
    half = to_half(core, SPEC, drawings(), tolerance=0.5)
    reasons = {island.node: island.reason for island in half.islands}
    assert reasons["pool"].startswith("it may add up to")
    assert "brighten" not in reasons


def test_a_layer_norm_whose_squares_overflow_becomes_an_island() -> None:
    """Of values that differ even where a picture is one color: where large ones are all the same,
    older releases of ONNX Runtime (1.24 is one) give NaN.
    """
    node = helper.make_node
    random = np.random.default_rng(1)
    core = core_of(
        [
            node("Mul", ["normalized", "gain"], ["large"], "enlarge"),
            node("Flatten", ["large"], ["flat"], "flatten"),
            node("LayerNormalization", ["flat", "ones"], ["normed"], "norm"),
            node("MatMul", ["normed", "w"], ["logits"], "classifier"),
        ],
        {
            "gain": random.uniform(100, 300, (16, 16)).astype(np.float32),
            "ones": np.ones(256, np.float32),
            "w": random.normal(0, 0.02, (256, 7)).astype(np.float32),
        },
    )
    half = to_half(core, SPEC, drawings())
    assert names_of(half) == {"norm"}
    types = element_types(half.model)
    assert types["large"] == HALF


@pytest.mark.parametrize("classifier_gain", [1e4, 1e6])
def test_large_logits_are_kept(classifier_gain: float) -> None:
    core = plain_core(classifier_gain=classifier_gain)
    half = to_half(core, SPEC, drawings(), tolerance=5e-3)
    assert {"classifier", "logits_back"} <= names_of(half)


def test_a_weight_that_float16_does_not_hold_is_kept() -> None:
    core = plain_core()
    core.graph.node.insert(10, helper.make_node("Add", ["big_logits", "tiny"], ["safe"], "epsilon"))
    core.graph.node[11].input[0] = "safe"
    core.graph.initializer.append(numpy_helper.from_array(np.float32([1e-12]), "tiny"))
    half = to_half(core, SPEC, drawings(), tolerance=0.01)
    reasons = {island.node: island.reason for island in half.islands}
    assert reasons["epsilon"] == "float16 changes a weight of it by 100.0%"


# --- measured error


def cancelling_core() -> onnx.ModelProto:
    """A difference of two large values that are alike: each fits, float16 loses what differs."""
    node = helper.make_node
    rng = np.random.default_rng(3)
    return core_of(
        [
            node("Flatten", ["normalized"], ["flat"], "flatten"),
            node("MatMul", ["flat", "w"], ["small"], "classifier"),
            node("Add", ["small", "shift"], ["shifted"], "shift"),
            node("Identity", ["shifted"], ["moved"], "between"),
            node("Identity", ["moved"], ["same"], "also_between"),
            node("Sub", ["same", "shift"], ["logits"], "shift_back"),
        ],
        {"w": rng.normal(0, 0.1, (256, 7)).astype(np.float32), "shift": np.float32([2001.7])},
    )


def test_a_network_that_loses_too_much_in_float16_fails_and_says_by_how_much() -> None:
    loose = to_half(cancelling_core(), SPEC, drawings(), tolerance=1)
    assert loose.max_probability_difference > 0.05
    with pytest.raises(GateError, match="float16 changes a probability by"):
        to_half(cancelling_core(), SPEC, drawings())


# --- gates and bad input


def test_a_network_that_gives_nan_fails() -> None:
    core = plain_core()
    core.graph.node.insert(10, helper.make_node("Log", ["big_logits"], ["broken"], "log"))
    core.graph.node[11].input[0] = "broken"
    with pytest.raises(GateError, match=r"float32 network itself computes NaN or Inf .* in broken"):
        to_half(core, SPEC, drawings())


def test_a_network_that_overflows_only_on_a_white_picture_is_protected_too() -> None:
    """Calibration crops are dark here; what a lamp does is tried all the same."""
    dark = (drawings() // 8).astype(np.uint8)
    node = helper.make_node
    core = core_of(
        [
            node("Relu", ["normalized"], ["positive"], "positive"),
            node("Mul", ["positive", "gain"], ["bright"], "brighten"),
            node("Tanh", ["bright"], ["bounded"], "bound"),
            node("Flatten", ["bounded"], ["flat"], "flatten"),
            node("MatMul", ["flat", "w"], ["logits"], "classifier"),
        ],
        {"gain": np.float32([6e4]), "w": np.full((256, 7), 0.01, np.float32)},
    )
    assert observe(FloatGraph(core), Crops(dark, SPEC)).peaks["bright"] == 0
    assert {"brighten", "bound"} <= names_of(to_half(core, SPEC, dark))


@pytest.mark.parametrize(
    "crops", [np.zeros((4, 48, 48, 1), np.uint8), np.zeros((4, 16, 16, 1), np.float32)]
)
def test_crops_that_do_not_fit_are_refused(crops: npt.NDArray[np.uint8]) -> None:
    with pytest.raises(DataError, match=r"uint8 \(N, 16, 16, 1\)"):
        to_half(plain_core(), SPEC, crops)


def test_an_operator_outside_onnx_is_refused() -> None:
    core = plain_core()
    core.graph.node[5].domain = "com.microsoft"
    core.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    with pytest.raises(ArtifactError, match=r"Sigmoid of com\.microsoft"):
        to_half(core, SPEC, drawings())


def test_control_flow_is_refused() -> None:
    core = plain_core()
    branch = helper.make_graph(
        [helper.make_node("Identity", ["gated"], ["out"])],
        "branch",
        [],
        [helper.make_tensor_value_info("out", FLOAT, None)],
    )
    core.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    core.graph.node.insert(
        7, helper.make_node("If", ["yes"], ["chosen"], "if", then_branch=branch, else_branch=branch)
    )
    core.graph.node[8].input[0] = "chosen"
    with pytest.raises(ArtifactError, match="without control flow"):
        to_half(core, SPEC, drawings())


# --- real architectures


def random_vit() -> tuple[onnx.ModelProto, ModelSpec]:
    arguments = {"img_size": 32, "patch_size": 8, "depth": 3}
    spec = ModelSpec(NetworkSpec("vit_tiny_patch16_224", arguments=arguments), InputSpec(32, 32))
    torch.manual_seed(0)
    built = network.build(spec)
    nn.init.normal_(built.get_classifier().weight, std=0.2)  # type: ignore[operator]
    return export_core(built, spec), spec


def packaged_mobilenet() -> tuple[onnx.ModelProto, ModelSpec]:
    """With weights that float16 has to round; those in the package are stored in it."""
    source = from_onnx("mobilenet")
    for tensor in source.core.graph.initializer:
        if len(tensor.dims) > 1:
            values = numpy_helper.to_array(tensor) * np.float32(1.0003)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return source.core, source.spec


@pytest.mark.parametrize("make", [random_vit, packaged_mobilenet], ids=lambda make: make.__name__)
def test_real_architectures_keep_their_probabilities(
    make: Callable[[], tuple[onnx.ModelProto, ModelSpec]],
) -> None:
    core, spec = make()
    half = to_half(core, spec, drawings(spec, 32))
    crops = drawings(spec, 512, seed=4)
    expected, _ = probabilities_of(core, spec, crops)
    for given in probabilities_of(half.model, spec.with_changes(precision="fp16"), crops):
        assert np.abs(given - expected).max() <= 5e-3
        assert np.mean(given.argmax(axis=1) == expected.argmax(axis=1)) >= 0.998
    matrices = [t.data_type for t in half.model.graph.initializer if len(t.dims) > 1]
    assert matrices.count(HALF) > 0.9 * len(matrices)
    assert half.model.ByteSize() < 0.55 * core.ByteSize()
