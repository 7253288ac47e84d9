"""Weights outside an ONNX file are found without onnx, wherever they hide."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fer_edge import InputSpec, ModelSpec, Predictor
from fer_edge.artifacts.artifact import Artifact
from fer_edge.artifacts.spec import NetworkSpec
from fer_edge.backends import BackendOptions, backend_class
from fer_edge.backends.external_data import refuse_external_data
from fer_edge.errors import ArtifactError

onnx = pytest.importorskip("onnx", reason="no onnx to make models with")


def outside(name: str = "w") -> Any:
    tensor = onnx.TensorProto(name=name, data_type=onnx.TensorProto.FLOAT, dims=[1])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return tensor


def in_an_initializer(model: Any) -> None:
    model.graph.initializer.append(outside())


def in_a_constant(model: Any) -> None:
    model.graph.node.append(onnx.helper.make_node("Constant", [], ["c"], value=outside()))


def in_a_branch(model: Any) -> None:
    branch = onnx.helper.make_graph([], "branch", [], [], [outside()])
    model.graph.node.append(onnx.helper.make_node("If", ["x"], ["y"], then_branch=branch))


def in_a_sparse_tensor(model: Any) -> None:
    model.graph.sparse_initializer.add().values.CopyFrom(outside())


def in_a_function(model: Any) -> None:
    node = onnx.helper.make_node("Constant", [], ["c"], value=outside())
    opsets = [onnx.helper.make_opsetid("", 18)]
    model.functions.append(onnx.helper.make_function("d", "f", [], ["c"], [node], opsets))


def in_a_training_graph(model: Any) -> None:
    model.training_info.add().initialization.initializer.append(outside())


OUTSIDE = "keeps weights in another file"


@pytest.mark.parametrize(
    "edit",
    [
        in_an_initializer,
        in_a_constant,
        in_a_branch,
        in_a_sparse_tensor,
        in_a_function,
        in_a_training_graph,
    ],
)
def test_it_is_found(
    tiny_artifact: Path, artifact_of: Callable[..., Artifact], edit: Callable[[Any], None]
) -> None:
    model = onnx.load(tiny_artifact)
    refuse_external_data(artifact_of(model.SerializeToString()))
    edit(model)
    with pytest.raises(ArtifactError, match=OUTSIDE):
        refuse_external_data(artifact_of(model.SerializeToString()))


@pytest.mark.parametrize("padding", range(5))
def test_a_length_that_is_longer_than_it_need_be_hides_nothing(
    padding: int, artifact_of: Callable[..., Artifact]
) -> None:
    """Every length that the reader of protobuf takes for eight is found."""
    length = b"\x08" if not padding else b"\x88" + b"\x80" * (padding - 1) + b"\x00"
    entry = b"\x0a" + length + b"location" + b"\x12\x01w"
    tensor = b"\x6a" + bytes([len(entry)]) + entry
    graph = b"\x2a" + bytes([len(tensor)]) + tensor
    data = b"\x3a" + bytes([len(graph)]) + graph
    (weight,) = onnx.ModelProto.FromString(data).graph.initializer
    assert weight.external_data[0].key == "location"
    with pytest.raises(ArtifactError, match=OUTSIDE):
        refuse_external_data(artifact_of(data))


@pytest.mark.parametrize("name", ["my_location", "allocation.py", "relocations"])
def test_a_model_may_speak_of_a_location(
    tiny_artifact: Path, artifact_of: Callable[..., Artifact], name: str
) -> None:
    model = onnx.load(tiny_artifact)
    model.graph.doc_string = name
    refuse_external_data(artifact_of(model.SerializeToString()))


def test_the_own_format_of_onnx_runtime_is_not_loaded(
    artifact_of: Callable[..., Artifact],
) -> None:
    with pytest.raises(ArtifactError, match="ONNX Runtime's own format; give the ONNX"):
        refuse_external_data(artifact_of(b"\x18\0\0\0ORTM\0\0"))


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_no_backend_opens_what_keeps_weights_elsewhere(
    tiny_artifact: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    artifact_of: Callable[..., Artifact],
    name: str,
) -> None:
    kind = pytest.importorskip(name) and backend_class(name)
    monkeypatch.chdir(tmp_path)  # where an engine would find them
    onnx.save(
        onnx.load(tiny_artifact),
        "split.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    data = Path("split.onnx").read_bytes()
    with pytest.raises(ArtifactError, match=r"keeps weights in another file, .* as one file"):
        kind(artifact_of(data), BackendOptions())


@pytest.mark.parametrize("given", [None, ModelSpec(NetworkSpec("tiny"), InputSpec(48, 48))])
def test_an_onnx_that_calls_itself_an_ir_is_none(
    tiny_artifact: Path, tmp_path: Path, given: ModelSpec | None
) -> None:
    """OpenVINO goes by the bytes, and would read the weights that it names."""
    pytest.importorskip("openvino", reason="no openvino")
    (tmp_path / "model.xml").write_bytes(tiny_artifact.read_bytes())
    (tmp_path / "model.bin").write_bytes(b"\0")
    with pytest.raises(ArtifactError, match="not an IR, which is XML"):
        Predictor(tmp_path / "model.xml", backend="openvino", spec=given)


def test_an_engine_inside_an_onnx_is_not_loaded(tiny_artifact: Path, tmp_path: Path) -> None:
    model = onnx.load(tiny_artifact)
    node = onnx.helper.make_node(
        "EPContext", ["crop"], ["e"], domain="com.microsoft", main_context=1
    )
    model.graph.node.append(node)
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ArtifactError, match="native code"):
        Predictor(tmp_path / "model.onnx", backend="onnxruntime")


def test_an_export_does_not_start_from_what_keeps_weights_elsewhere(
    tiny_artifact: Path, tmp_path: Path
) -> None:
    source = pytest.importorskip("fer_export.source", reason="no torch to export with")
    model = onnx.load(tiny_artifact)
    in_a_constant(model)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match="keeps weights in another file"):
        source.from_onnx(tmp_path / "model.onnx")
