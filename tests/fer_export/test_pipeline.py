"""fer-export from a checkpoint to a model directory."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from fer_edge import Predictor, checkpoint
from fer_edge.errors import ArtifactError, ConfigurationError, GateError
from fer_edge.files import sha256_of
from fer_edge.manifest import MANIFEST, Manifest
from fer_edge.metrics import softmax
from fer_edge.network import Normalized
from fer_edge.preprocess import preprocess_all
from fer_edge.synthetic import synthetic_crops
from fer_export import contract, core, pipeline, verification
from fer_export.cli import main


@pytest.fixture(scope="module")
def exported(weights: Path, tiny_fer2013: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory, exported once."""
    out = tmp_path_factory.mktemp("dist") / "model"
    pipeline.export_model(weights, out, ["onnx"], data=tiny_fer2013)
    return out


def test_the_predictor_answers_as_torch_does(exported: Path, weights: Path) -> None:
    network, spec = checkpoint.load(weights)
    crops = synthetic_crops(9, seed=3)
    with Predictor(exported) as fer:
        given = np.stack([p.probabilities for p in fer.predict_batch(crops)])
        tensors = preprocess_all(crops, fer.info.spec.input)
    with torch.no_grad():
        logits = Normalized(network, spec)(torch.from_numpy(tensors).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(given, softmax(logits, spec.temperature), atol=1e-5)


def test_the_manifest_tells_what_was_measured(exported: Path, tiny_fer2013: Path) -> None:
    (entry,) = Manifest.read(exported).artifacts
    assert entry.sha256 == sha256_of(exported / entry.file)
    assert (entry.target, entry.precision) == ("onnx", "fp32")
    assert entry.parity is not None
    assert entry.parity.crops == 21
    assert entry.parity.top1_agreement == 1
    assert entry.accuracy is not None
    assert (entry.accuracy.n, entry.accuracy.use) == (21, "selected on")


def test_the_artifact_names_its_parent(exported: Path, weights: Path) -> None:
    with Predictor(exported) as fer:
        assert fer.info.spec.provenance.parent_sha256 == sha256_of(weights)


def test_golden_crops_are_answered_as_the_manifest_says(exported: Path) -> None:
    golden = Manifest.read(exported).golden
    assert len(golden) == 4
    with Predictor(exported) as fer:
        spec = fer.info.spec
        for crop in golden:
            pixels, tensor = crop.arrays()
            np.testing.assert_array_equal(preprocess_all([pixels], spec.input)[0], tensor)
            given = fer.predict(pixels).probabilities
            np.testing.assert_allclose(given, crop.probabilities, atol=1e-6)


def test_nothing_of_the_exporting_machine_is_in_the_file(exported: Path) -> None:
    content = (exported / "model.onnx").read_bytes()
    assert b"site-packages" not in content
    assert str(Path.home()).encode() not in content
    assert b".py" not in content


def test_the_core_keeps_a_dynamic_batch(weights: Path) -> None:
    network, spec = checkpoint.load(weights)
    model = contract.attach_contract(core.export_core(network, spec), spec)
    dimensions = model.graph.input[0].type.tensor_type.shape.dim
    assert dimensions[0].dim_param == "batch"


def test_an_artifact_that_is_another_network_fails_the_gate(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build_shifted(network: torch.nn.Module, spec: object, path: Path) -> None:
        model = contract.attach_contract(core.export_core(network, spec), spec)  # type: ignore[arg-type]
        for tensor in model.graph.initializer:
            if tensor.name == "fer_edge.mean":
                tensor.CopyFrom(
                    onnx.numpy_helper.from_array(np.full((1, 1, 1, 1), 90, "f4"), tensor.name)
                )
        onnx.save(model, path)

    out = tmp_path / "model"
    out.mkdir()
    Manifest("old", "fp32", ()).write(out)
    broken = pipeline.Target("model.onnx", "fp32", "onnxruntime", build_shifted)
    monkeypatch.setitem(pipeline.TARGETS, "onnx", broken)
    with pytest.raises(GateError, match="a probability differs by"):
        pipeline.export_model(weights, out, ["onnx"], force=True)
    assert [p.name for p in tmp_path.rglob("*")] == ["model", MANIFEST]


@pytest.mark.parametrize(
    ("gap", "agreement"), [(2e-4, 1.0), (0.0, 0.999), (float("nan"), 1.0), (0.0, float("nan"))]
)
def test_the_fp32_gate_refuses(gap: float, agreement: float) -> None:
    parity = verification.Parity(100, "drawings", gap, 0.0, agreement)
    assert verification.GATES["fp32"].defects(parity)


def test_the_fp32_gate_accepts_rounding() -> None:
    parity = verification.Parity(100, "drawings", 9e-5, 0.0, 1.0)
    assert not verification.GATES["fp32"].defects(parity)


def test_an_existing_directory_is_refused_without_force(weights: Path, tmp_path: Path) -> None:
    Manifest("old", "fp32", ()).write(tmp_path)
    with pytest.raises(ConfigurationError, match="give --force"):
        pipeline.export_model(weights, tmp_path, ["onnx"])


@pytest.mark.parametrize("manifest", ["of ours", '{"name": "a web app"}', None])
def test_force_replaces_no_folder_that_holds_anything_else(
    manifest: str | None, weights: Path, tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    if manifest == "of ours":
        Manifest("old", "fp32", ()).write(tmp_path)
    elif manifest:
        (tmp_path / MANIFEST).write_text(manifest)
    with pytest.raises(ConfigurationError, match="which no export wrote, so it is not replaced"):
        pipeline.export_model(weights, tmp_path, ["onnx"], force=True)
    assert (tmp_path / "thesis.tex").exists()


def test_force_replaces_a_model_directory(weights: Path, tmp_path: Path) -> None:
    Manifest("old", "fp32", ()).write(tmp_path)
    pipeline.export_model(weights, tmp_path, ["onnx"], force=True)
    assert Manifest.read(tmp_path).artifacts


def test_an_unknown_target_lists_the_known_ones(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="unknown target tflite; there are onnx"):
        pipeline.export_model(weights, tmp_path / "out", ["tflite"])


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", b"\x80\x04\x95pickle"])
def test_a_file_that_is_no_checkpoint_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(ArtifactError, match="not a safetensors file"):
        pipeline.export_model(tmp_path / "x.safetensors", tmp_path / "out", ["onnx"])
    assert not (tmp_path / "out").exists()


def test_the_command_reports_and_writes_json(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = tmp_path / "result.json"
    out = tmp_path / "out"
    assert main(["--weights", str(weights), "--out", str(out), "--json", str(result)]) == 0
    (entry,) = json.loads(result.read_text())["artifacts"]
    assert entry["parity"]["crops_from"] == "512 seeded drawings"
    assert entry["accuracy"] is None
    assert "max |Δp|" in capsys.readouterr().out


def test_the_command_exits_with_2_for_a_missing_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--weights", str(tmp_path / "no"), "--out", str(tmp_path / "out")]) == 2
    assert "there is no checkpoint" in capsys.readouterr().err
