"""OpenVINO IR: names, types, spec, bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import numpy_helper

from fer_calib.crops import Crops
from fer_calib.quantisation import quantize
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.backends.onnxruntime_engine import ort
from fer_edge.backends.openvino_runtime import ov
from fer_edge.errors import ArtifactError
from fer_edge.images.preprocess import preprocess_all
from fer_edge.images.synthetic import synthetic_crops
from fer_export import contract_nodes
from fer_export.half import to_half
from fer_export.openvino_ir import from_onnx, save_ir
from fer_export.source import from_onnx as float_source

MakeArtifact = Callable[[Path, ModelSpec], Path]
ops = ov.opset8
F32 = {"INFERENCE_PRECISION_HINT": "f32"}


def crops_of(spec: ModelSpec, count: int = 5) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(2).integers(0, 256, (count, *spec.input.shape), np.uint8)


def run(path: Path, crops: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], ...]:
    compiled = ov.Core().compile_model(path, "CPU", F32)
    found = compiled({"crop": crops})
    return found["logits"], found["probabilities"]


def constant_types(path: Path, at_least: int = 2) -> set[str]:
    return {
        node.get_element_type().get_type_name()
        for node in ov.Core().read_model(path).get_ops()
        if node.get_type_name() == "Constant" and node.get_element_type().is_real()
        if np.prod(node.get_output_shape(0)) >= at_least
    }


@pytest.fixture
def ir(tiny_artifact: Path, tiny_spec: ModelSpec, tmp_path: Path) -> Path:
    path = tmp_path / "model.xml"
    save_ir(from_onnx(tiny_artifact), tiny_spec, path)
    return path


@pytest.fixture(scope="module")
def half_artifact(small_spec: ModelSpec) -> onnx.ModelProto:
    """A core with a planted block of 1e5, in half precision, with its contract."""
    rng = np.random.default_rng(0)
    node = onnx.helper.make_node
    spec = replace(small_spec, precision="fp16")
    weights = {
        "w": rng.normal(size=(8, 1, 3, 3)).astype(np.float32) * np.float32(1e5),
        "back": np.float32([1e-5]),
        "w2": rng.normal(0, 0.1, (8, 8, 3, 3)).astype(np.float32),
        "w3": rng.normal(size=(8, 7)).astype(np.float32),
    }
    graph = onnx.helper.make_graph(
        [
            node("Conv", ["normalized", "w"], ["large"], "first"),
            node("Mul", ["large", "back"], ["small"], "back"),
            node("Conv", ["small", "w2"], ["mixed"], "second"),
            node("GlobalMaxPool", ["mixed"], ["pooled"], "pool"),
            node("Flatten", ["pooled"], ["flat"], "flatten"),
            node("Gemm", ["flat", "w3"], ["logits"], "classifier"),
        ],
        "core",
        [onnx.helper.make_tensor_value_info("normalized", 1, ["batch", 1, 32, 32])],
        [onnx.helper.make_tensor_value_info("logits", 1, ["batch", 7])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    core = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    crops = preprocess_all(synthetic_crops(16), spec.input)
    half = to_half(core, spec, crops, tolerance=0.5)
    assert {island.node for island in half.islands} == {"first", "back"}
    return contract_nodes.attach_contract(half.model, spec)


def test_names_types_and_the_dynamic_batch_are_kept(ir: Path) -> None:
    model = ov.Core().read_model(ir)
    ports = [
        (port.get_names(), port.get_element_type().get_type_name(), str(port.get_partial_shape()))
        for port in (*model.inputs, *model.outputs)
    ]
    assert ports == [
        ({"crop"}, "u8", "[?,48,48,1]"),
        ({"logits"}, "f32", "[?,7]"),
        ({"probabilities"}, "f32", "[?,7]"),
    ]


@pytest.mark.parametrize("count", [1, 2, 7])
def test_it_answers_as_the_onnx_does(
    count: int, ir: Path, tiny_artifact: Path, tiny_spec: ModelSpec
) -> None:
    crops = crops_of(tiny_spec, count)
    expected = ort.InferenceSession(tiny_artifact).run(None, {"crop": crops})
    for given, wanted in zip(run(ir, crops), expected, strict=True):
        np.testing.assert_allclose(given, wanted, atol=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_spec_that_is_given_comes_back_under_our_own_key_and_nowhere_else(
    precision: str, tiny_artifact: Path, tiny_spec: ModelSpec, tmp_path: Path
) -> None:
    spec = tiny_spec.with_changes(precision=precision)
    save_ir(from_onnx(tiny_artifact), spec, tmp_path / "model.xml")
    model = ov.Core().read_model(tmp_path / "model.xml")
    assert model.get_rt_info("fer_edge").astype(str) == spec.to_json()
    assert not model.has_rt_info("framework")


def test_fp32_weights_stay_fp32(ir: Path, tiny_artifact: Path) -> None:
    assert constant_types(ir) == {"f32"}
    weights = {t.name: numpy_helper.to_array(t) for t in onnx.load(tiny_artifact).graph.initializer}
    weight = weights["weight"].astype(np.float32)
    stored = ir.with_suffix(".bin").read_bytes()
    assert weight.tobytes() in stored or weight.T.tobytes() in stored


def test_the_same_model_gives_the_same_bytes(
    tiny_artifact: Path, tiny_spec: ModelSpec, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        save_ir(from_onnx(onnx.load(tiny_artifact)), tiny_spec, tmp_path / f"{name}.xml")
    for suffix in (".xml", ".bin"):
        first, second = (tmp_path / f"{name}{suffix}" for name in ("a", "b"))
        assert first.read_bytes() == second.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"a.xml", "a.bin", "b.xml", "b.bin"}


def test_the_fp16_ir_is_f16_outside_its_islands_and_marks_these(
    half_artifact: onnx.ModelProto, small_spec: ModelSpec, tmp_path: Path
) -> None:
    path = tmp_path / "model.xml"
    save_ir(from_onnx(half_artifact), replace(small_spec, precision="fp16"), path)
    nodes = {node.get_friendly_name(): node for node in ov.Core().read_model(path).get_ops()}
    convolutions = [n for n in nodes.values() if n.get_type_name() == "Convolution"]
    types = sorted(node.get_element_type().get_type_name() for node in convolutions)
    assert types == ["f16", "f32"]
    assert constant_types(path, at_least=8 * 8 * 9) == {"f16"}
    # releases before 2026.4 keep the name of the file, precise_0
    names = {"precise_0", "DisablePrecisionConversion_0"}
    marked = {
        name: bool(names & set(node.get_rt_info().keys()))
        for name, node in nodes.items()
        if node.get_type_name() in ("Convolution", "Softmax", "MatMul")
    }
    for name, is_marked in marked.items():
        assert is_marked == (nodes[name].get_element_type() == ov.Type.f32), name
    assert set(marked.values()) == {True, False}


def test_the_fp16_ir_answers_as_the_fp16_onnx_does(
    half_artifact: onnx.ModelProto, small_spec: ModelSpec, tmp_path: Path
) -> None:
    path = tmp_path / "model.xml"
    save_ir(from_onnx(half_artifact), replace(small_spec, precision="fp16"), path)
    crops = crops_of(small_spec, 16)
    _, expected = ort.InferenceSession(half_artifact.SerializeToString()).run(None, {"crop": crops})
    _, given = run(path, crops)
    np.testing.assert_allclose(given, expected, atol=5e-3)


def test_an_onnx_that_openvino_cannot_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "damaged.onnx"
    path.write_bytes(b"\x08\x0a not an onnx")
    with pytest.raises(ArtifactError, match="OpenVINO cannot convert this ONNX"):
        from_onnx(path)


def test_int8_weights_stay_int8_in_the_file(tmp_path: Path) -> None:
    source = float_source("default")
    crops = Crops(preprocess_all(synthetic_crops(32), source.spec.input), source.spec)
    spec = source.spec.with_changes(precision="int8")
    artifact = contract_nodes.attach_contract(quantize(source.core, crops, "canonical"), spec)
    weights = save_ir(from_onnx(artifact), spec, tmp_path / "m.xml")
    assert weights.stat().st_size < 0.4 * source.core.ByteSize()
