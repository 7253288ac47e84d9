"""The contract around a core."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from fer_edge.artifacts.spec import InputSpec, ModelSpec
from fer_edge.backends.onnxruntime_engine import ort
from fer_edge.errors import ArtifactError, ConfigurationError
from fer_edge.evaluation.metrics import softmax
from fer_export import contract_nodes
from fer_export.contract_nodes import with_static_batch

MakeArtifact = Callable[[Path, ModelSpec], Path]


def test_cast_alone_consumes_the_crop(tiny_artifact: Path) -> None:
    graph = onnx.load(tiny_artifact).graph
    consumers = [node.op_type for node in graph.node if "crop" in node.input]
    assert consumers == ["Cast"]


def test_input_and_outputs_are_those_of_the_design(tiny_artifact: Path) -> None:
    session = ort.InferenceSession(tiny_artifact)
    (crop,) = session.get_inputs()
    assert (crop.name, crop.type, crop.shape) == ("crop", "tensor(uint8)", ["batch", 48, 48, 1])
    outputs = [(o.name, o.type, o.shape) for o in session.get_outputs()]
    assert outputs == [
        ("logits", "tensor(float)", ["batch", 7]),
        ("probabilities", "tensor(float)", ["batch", 7]),
    ]


def test_the_spec_comes_back_from_the_metadata(tiny_artifact: Path, tiny_spec: ModelSpec) -> None:
    metadata = ort.InferenceSession(tiny_artifact).get_modelmeta().custom_metadata_map
    assert ModelSpec.from_json(metadata["fer_edge"]) == tiny_spec


@pytest.mark.parametrize("color", ["gray", "rgb"])
def test_the_graph_normalises_and_scales_as_its_spec_says(
    color: str, tiny_spec: ModelSpec, make_artifact: MakeArtifact, tmp_path: Path
) -> None:
    channels = {"gray": 1, "rgb": 3}[color]
    mean, std = (0.3, 0.5, 0.6)[:channels], (0.2, 0.25, 0.3)[:channels]
    spec = replace(tiny_spec, input=InputSpec(6, 5, color, mean, std), temperature=2.5)
    path = make_artifact(tmp_path / "model.onnx", spec)
    values = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    crops = np.random.default_rng(1).integers(0, 256, (3, 6, 5, channels), np.uint8)
    normalized = (crops / 255.0 - mean) / std
    flat = normalized.transpose(0, 3, 1, 2).reshape(3, -1)
    expected = flat @ values["weight"] + values["bias"]
    logits, probabilities = ort.InferenceSession(path).run(None, {"crop": crops})
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(probabilities, softmax(expected, 2.5), atol=1e-5)


def test_one_opset_import_per_domain_and_weights_inside(tiny_artifact: Path) -> None:
    model = onnx.load(tiny_artifact, load_external_data=False)
    domains = [entry.domain for entry in model.opset_import]
    assert domains == [""]
    inside = onnx.TensorProto.DEFAULT
    assert all(tensor.data_location == inside for tensor in model.graph.initializer)


def test_detaching_gives_back_the_core_and_the_spec(
    tiny_artifact: Path, tiny_spec: ModelSpec
) -> None:
    model = onnx.load(tiny_artifact)
    core, spec = contract_nodes.detach_contract(model, "it")
    assert spec == tiny_spec
    assert [node.op_type for node in core.graph.node] == ["Flatten", "Gemm"]
    assert [port.name for port in (*core.graph.input, *core.graph.output)] == [
        contract_nodes.CORE_INPUT,
        contract_nodes.CORE_OUTPUT,
    ]
    assert contract_nodes.attach_contract(core, spec) == model


def test_a_graph_without_our_spec_or_nodes_is_not_taken_apart(tiny_artifact: Path) -> None:
    model = onnx.load(tiny_artifact)
    model.graph.node[0].name = "other"
    with pytest.raises(ArtifactError, match="does not have the input and output nodes"):
        contract_nodes.detach_contract(model, "it")
    del model.metadata_props[:]
    with pytest.raises(ArtifactError, match="it carries no model spec"):
        contract_nodes.detach_contract(model, "it")


NAMED: dict[str, Callable[[onnx.ModelProto], tuple[Any, str]]] = {
    "node": lambda model: (
        next(node for node in model.graph.node if not node.name.startswith("fer_edge")),
        "name",
    ),
    "weight": lambda model: (model.graph.initializer[0], "name"),
    "dimension": lambda model: (model.graph.input[0].type.tensor_type.shape.dim[0], "dim_param"),
    "producer": lambda model: (model, "producer_name"),
}


@pytest.mark.parametrize("kind", NAMED)
def test_a_graph_whose_names_are_no_text_is_not_taken_apart(tiny_artifact: Path, kind: str) -> None:
    whole = onnx.load(tiny_artifact)
    setattr(*NAMED[kind](whole), "no such name")
    data = whole.SerializeToString().replace(b"no such name", b"no such\xffname")
    model = onnx.load_from_string(data)
    with pytest.raises(ArtifactError, match="it is damaged: some of its names are not text"):
        contract_nodes.detach_contract(model, "it")


# --- a static batch


def test_input_and_outputs_have_the_batch_and_the_answers_stay(tiny_artifact: Path) -> None:
    dynamic = onnx.load(tiny_artifact)
    static = with_static_batch(dynamic, 3)
    session = ort.InferenceSession(static.SerializeToString())
    values = [*session.get_inputs(), *session.get_outputs()]
    assert [value.shape[0] for value in values] == [3, 3, 3]
    crops = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 1), np.uint8)
    expected = ort.InferenceSession(tiny_artifact).run(None, {"crop": crops})
    for given, wanted in zip(session.run(None, {"crop": crops}), expected, strict=True):
        np.testing.assert_allclose(given, wanted, atol=1e-6)
    with pytest.raises(Exception, match="Got: 2 Expected: 3"):
        session.run(None, {"crop": crops[:2]})


def test_spec_and_original_are_kept_and_the_batch_too(tiny_artifact: Path) -> None:
    dynamic = onnx.load(tiny_artifact)
    static = with_static_batch(dynamic, 4)
    assert static.metadata_props == dynamic.metadata_props
    assert dynamic.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert with_static_batch(static, 4) == static
    with pytest.raises(ConfigurationError, match="static at a batch of 4 and cannot become 2"):
        with_static_batch(static, 2)
    with pytest.raises(ConfigurationError, match="at least one crop, not 0"):
        with_static_batch(dynamic, 0)


def test_a_network_that_fixes_another_batch_inside_is_refused(tiny_artifact: Path) -> None:
    model = onnx.load(tiny_artifact)
    flatten = next(node for node in model.graph.node if node.op_type == "Flatten")
    model.graph.initializer.append(numpy_helper.from_array(np.array([5, 48 * 48]), "fixed_shape"))
    flatten.CopyFrom(helper.make_node("Reshape", ["normalized", "fixed_shape"], ["flat"]))
    with pytest.raises(ArtifactError, match="cannot have a static batch of 2"):
        with_static_batch(model, 2)
