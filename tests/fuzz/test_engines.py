"""Single artifacts, without a manifest that vouches for them: any bytes open, or are refused.

What cannot be promised for them: a file that was damaged so that it is still a model of the right
shape is opened, and answers otherwise. SECURITY.md says so.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damaged_files import damaged_graph
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_edge import ArtifactError, FerEdgeError, ModelSpec, Predictor
from fer_edge.backends.onnxruntime_engine import ort

onnx = pytest.importorskip("onnx", reason="no onnx to make an artifact with")

FUZZ = settings(settings.get_profile("fuzz"))
BATCH = np.zeros((2, 48, 48, 1), np.uint8)


def open_and_run(survive: Any, path: Path, backend: str) -> None:
    opened = survive(Predictor, path, backend=backend, threads=1)
    if isinstance(opened, Predictor):
        with opened:
            shape = opened.info.spec.input.shape
            survive(opened.predict_tensor, np.zeros((2, *shape), np.uint8))


@FUZZ
@given(data=st.data())
def test_any_onnx_file_answers_or_is_refused(
    survive: Any, tiny_artifact: Path, tmp_path_factory: Any, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.onnx"
    path.write_bytes(data.draw(damaged_graph(tiny_artifact.read_bytes())))
    open_and_run(survive, path, "onnxruntime")


@pytest.fixture(scope="session")
def tiny_ir(tiny_artifact: Path, tiny_spec: ModelSpec, tmp_path_factory: Any) -> Path:
    """The same model as OpenVINO IR."""
    pytest.importorskip("openvino", reason="no OpenVINO to make an IR with")
    from fer_export.openvino_ir import from_onnx, save_ir

    path = tmp_path_factory.mktemp("ir") / "model.xml"
    save_ir(from_onnx(tiny_artifact), tiny_spec, path)
    return path


@FUZZ
@given(data=st.data())
def test_any_ir_answers_or_is_refused(
    survive: Any, tiny_ir: Path, tmp_path_factory: Any, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.xml"
    graph, weights = tiny_ir.read_bytes(), tiny_ir.with_suffix(".bin").read_bytes()
    if data.draw(st.integers(0, 3)):
        graph = data.draw(damaged_graph(graph))
    else:
        weights = data.draw(damaged_graph(weights))
    path.write_bytes(graph)
    path.with_suffix(".bin").write_bytes(weights)
    open_and_run(survive, path, "openvino")


def test_an_ir_in_a_folder_without_a_manifest_is_refused(tiny_ir: Path) -> None:
    with pytest.raises(ArtifactError, match="no manifest"):
        Predictor(tiny_ir.parent, backend="openvino")


@FUZZ
@given(st.binary(max_size=80))
def test_any_bytes_that_are_no_onnx_are_refused(
    survive: Any, tmp_path_factory: Any, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "noise.onnx"
    path.write_bytes(content)
    assert isinstance(survive(Predictor, path, backend="onnxruntime"), ArtifactError)


LOCATIONS = ("/etc/passwd", "../../secret", "weights.bin", "./weights.bin", "*/_ORT_MEM_ADDR_/*")


def _external(model: Any, location: str, where: str) -> None:
    """Move the weights out of a model, as a file or as a part of a node's attribute."""
    tensor = next(t for t in model.graph.initializer if t.name == "weight")
    moved = onnx.TensorProto()
    moved.CopyFrom(tensor)
    moved.ClearField("raw_data")
    moved.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "8")):
        moved.external_data.add(key=key, value=value)
    model.graph.initializer.remove(tensor)
    if where == "initializer":
        model.graph.initializer.append(moved)
    elif where == "constant":
        model.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["weight"], value=moved))
    elif where == "subgraph":
        inner = onnx.helper.make_graph(
            [onnx.helper.make_node("Identity", ["inside"], ["out"])],
            "branch",
            [],
            [onnx.helper.make_tensor_value_info("out", 1, tensor.dims)],
            [_renamed(moved)],
        )
        condition = onnx.numpy_helper.from_array(np.array(True), "condition")
        model.graph.initializer.append(condition)
        node = onnx.helper.make_node(
            "If", ["condition"], ["weight"], then_branch=inner, else_branch=inner
        )
        model.graph.node.insert(0, node)
    else:
        function = onnx.helper.make_function(
            "local",
            "Weights",
            [],
            ["out"],
            [onnx.helper.make_node("Constant", [], ["out"], value=moved)],
            [onnx.helper.make_opsetid("", 18)],
        )
        model.functions.append(function)
        model.opset_import.append(onnx.helper.make_opsetid("local", 1))
        node = onnx.helper.make_node("Weights", [], ["weight"], domain="local")
        model.graph.node.insert(0, node)


def _renamed(tensor: Any) -> Any:
    tensor.name = "inside"
    return tensor


@pytest.mark.parametrize("where", ["initializer", "constant", "subgraph", "function"])
@pytest.mark.parametrize("location", LOCATIONS)
def test_weights_outside_the_file_are_refused_before_the_engine_looks_for_them(
    location: str,
    where: str,
    tiny_artifact: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = onnx.load(tiny_artifact)
    _external(model, location, where)
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    (tmp_path / "weights.bin").write_bytes(bytes(1 << 16))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ort, "InferenceSession", lambda *_, **__: pytest.fail("the engine saw it"))
    with pytest.raises(ArtifactError, match="weights in another file"):
        Predictor(path, backend="onnxruntime")


def test_a_single_file_cannot_tell_a_weight_that_was_changed(
    tiny_artifact: Path, tmp_path: Path
) -> None:
    """Said in SECURITY.md: a manifest is what vouches."""
    model = onnx.load(tiny_artifact)
    weight = next(t for t in model.graph.initializer if t.name == "bias")
    values = onnx.numpy_helper.to_array(weight)[::-1].copy()
    weight.CopyFrom(onnx.numpy_helper.from_array(values, "bias"))
    onnx.save(model, tmp_path / "model.onnx")
    with Predictor(tmp_path / "model.onnx", backend="onnxruntime") as changed:
        assert changed.predict_tensor(BATCH)[1].shape == (2, 7)


@pytest.mark.parametrize("suffix", [".onnx", ".xml", ".plan", ".safetensors"])
def test_a_file_of_another_format_under_a_known_suffix_is_refused(
    suffix: str, tmp_path: Path
) -> None:
    from fer_edge.artifacts.artifact import FORMATS
    from fer_edge.backends import BACKENDS, backend_class

    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"\x80\x04\x95" + os.urandom(200))
    for name, entry in BACKENDS.items():
        if FORMATS[suffix] in entry.formats:
            try:
                backend_class(name)
            except FerEdgeError:  # its engine is not here
                continue
            with pytest.raises(FerEdgeError):
                Predictor(path, backend=name)


def test_a_spec_of_a_file_is_checked_against_its_graph(
    make_artifact: Callable[[Path, ModelSpec], Path], tiny_spec: ModelSpec, tmp_path: Path
) -> None:
    model = onnx.load(make_artifact(tmp_path / "model.onnx", tiny_spec))
    wrong = tiny_spec.to_json().replace('"height": 48', '"height": 64')
    onnx.helper.set_model_props(model, {"fer_edge": wrong})
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ArtifactError):
        Predictor(tmp_path / "model.onnx", backend="onnxruntime")
