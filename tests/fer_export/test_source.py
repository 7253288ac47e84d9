"""Where an export starts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

from fer_calib.layers import CORE_INPUT
from fer_edge import Predictor
from fer_edge.artifacts.spec import METADATA_KEY, InputSpec, ModelSpec, NetworkSpec
from fer_edge.errors import ArtifactError, ConfigurationError
from fer_edge.images.preprocess import preprocess_all
from fer_edge.images.synthetic import synthetic_crops
from fer_edge.system.files import sha256_of
from fer_edge.torch_model import checkpoint, network
from fer_export.source import from_checkpoint, from_onnx


def _crops(spec: InputSpec) -> np.ndarray:
    return preprocess_all(synthetic_crops(5), spec)


def test_a_checkpoint_is_its_own_reference_until_its_core_is_made(
    weights: Path, small_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, spec = checkpoint.load(weights)
    monkeypatch.setattr(checkpoint, "load", lambda _: (network, spec))
    source = from_checkpoint(weights)
    assert source.spec == small_spec.with_provenance(parent_sha256=sha256_of(weights))
    assert source.checkpoint == weights
    probabilities = source.answers(_crops(small_spec.input))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert source.core.graph.input[0].name == CORE_INPUT
    assert source.core.graph.initializer
    assert sum(parameter.numel() for parameter in network.parameters()) == 0  # memory is freed


def test_an_fp32_artifact_is_its_own_reference(tiny_artifact: Path, tiny_spec: ModelSpec) -> None:
    source = from_onnx(tiny_artifact)
    crops = _crops(tiny_spec.input)
    with Predictor(tiny_artifact) as predictor:
        np.testing.assert_array_equal(source.answers(crops), predictor.predict_tensor(crops)[1])
    assert source.spec.provenance.parent_sha256 == sha256_of(tiny_artifact)
    assert source.checkpoint is None


def test_the_word_default_is_a_source() -> None:
    assert from_onnx("default").spec.network.architecture == "fer_dense"


def test_what_is_int8_already_is_no_source(
    tiny_artifact: Path, tiny_spec: ModelSpec, tmp_path: Path
) -> None:
    model = onnx.load(tiny_artifact)
    (entry,) = [e for e in model.metadata_props if e.key == METADATA_KEY]
    entry.value = tiny_spec.with_changes(precision="int8").to_json()
    onnx.save(model, tmp_path / "int8.onnx")
    with pytest.raises(ConfigurationError, match="is int8 already"):
        from_onnx(tmp_path / "int8.onnx")


@pytest.mark.parametrize("content", [b"", b"no protobuf", b"\x80\x04\x95pickle"])
def test_a_file_that_is_no_onnx_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(ArtifactError):
        from_onnx(tmp_path / "x.onnx")


def test_a_dense_network_is_exported_as_convolutions_and_additions(tmp_path: Path) -> None:
    spec = ModelSpec(NetworkSpec("fer_dense", arguments={"width": 8}), InputSpec(48, 48))
    checkpoint.save(tmp_path / "dense.safetensors", network.build(spec).state_dict(), spec)
    source = from_checkpoint(tmp_path / "dense.safetensors")
    ops = Counter(node.op_type for node in source.core.graph.node)
    assert ops["Conv"] == ops["Relu"] == 15
    assert ops["Add"] == 10  # a block keeps its input where shape and channels stay
    assert "BatchNormalization" not in ops
