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
from fer_edge.backends.external_data import has_external_data
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
def test_it_is_found(tiny_artifact: Path, edit: Callable[[Any], None]) -> None:
    model = onnx.load(tiny_artifact)
    assert not has_external_data(model.SerializeToString())
    edit(model)
    assert has_external_data(model.SerializeToString())


def part(tag: bytes, content: bytes) -> bytes:
    """A field of fewer than 128 bytes; C++ readers keep the lower 32 bits of its tag."""
    return tag + bytes([len(content)]) + content


GRAPH, INITIALIZER, EXTERNAL_DATA = b"\x3a", b"\x2a", b"\x6a"
LOCATION = part(b"\x0a", b"location") + part(b"\x12", b"/etc/passwd")
EXTERNAL = b"\x70\x01"


@pytest.mark.parametrize(
    ("graph", "initializer", "tensor"),
    [
        (GRAPH, INITIALIZER, part(b"\xea\x80\x80\x80\x10", LOCATION)),
        (GRAPH, INITIALIZER, b"\xf0\x80\x80\x80\x10\x01"),
        (GRAPH, INITIALIZER, part(b"\xea\x80\x80\x80\x80\x80\x80\x80\x80\x01", LOCATION)),
        (GRAPH, b"\xaa\x80\x80\x80\x10", EXTERNAL),
        (b"\xba\x80\x80\x80\x10", INITIALIZER, EXTERNAL),
    ],
    ids=["its place", "its kind", "ten bytes", "an initializer", "the graph"],
)
def test_a_tag_of_more_than_32_bits_hides_nothing(
    graph: bytes, initializer: bytes, tensor: bytes
) -> None:
    assert has_external_data(part(GRAPH, part(INITIALIZER, part(EXTERNAL_DATA, LOCATION))))
    assert has_external_data(part(GRAPH, part(INITIALIZER, EXTERNAL)))
    with pytest.raises(ValueError, match="there is no field"):
        has_external_data(part(graph, part(initializer, tensor)))


@pytest.mark.parametrize("tensor", [part(b"\xea\x00", LOCATION), b"\xf0\x80\x80\x80\x00\x01"])
def test_a_tag_that_is_longer_than_it_need_be_is_the_same_field(tensor: bytes) -> None:
    assert has_external_data(part(GRAPH, part(INITIALIZER, tensor)))


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


@pytest.mark.parametrize(
    "data",
    [
        b"no model",
        b"\x3a\xff\xff\xff\xff\x0f",
        b"\x3a\x80\x80\x80\x80\x10",
        b"\x3a" + b"\x80" * 10 + b"\x00",
        b"\x08" + b"\x80" * 10 + b"\x00",
        b"\x02\x00",
        b"\x0b\x0c",
        b"\xff" * 11,
        b"\x3a\x02\x0a" * 200,
        b"\x08\x08" * 1_100_000,
    ],
    ids=[
        "text",
        "longer than it is",
        "a length of 2**32",
        "a length of eleven bytes",
        "a number of eleven bytes",
        "no field",
        "groups",
        "endless number",
        "cut",
        "more fields than any model has",
    ],
)
def test_what_cannot_be_walked_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        has_external_data(data)
