"""fer-export from a network to a model directory."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from fer_calib.calibration import draw
from fer_edge import Predictor
from fer_edge.artifacts.manifest import MANIFEST, ArtifactEntry, Manifest
from fer_edge.errors import ConfigurationError, DataError, GateError, MissingDependencyError
from fer_edge.evaluation.metrics import softmax
from fer_edge.images.preprocess import preprocess_all
from fer_edge.images.synthetic import synthetic_crops
from fer_edge.system.files import sha256_of
from fer_edge.torch_model import checkpoint
from fer_edge.torch_model.network import Normalized
from fer_export import targets
from fer_export.cli import main
from fer_export.context import ExportContext
from fer_export.options import ExportOptions
from fer_export.pipeline import export_model
from fer_export.source import from_checkpoint, from_onnx
from fer_export.targets import TARGETS

MakeData = Callable[[Path, int, int], Path]


@pytest.fixture(scope="module")
def exported(weights: Path, tiny_fer2013: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory of a checkpoint, exported once."""
    out = tmp_path_factory.mktemp("dist") / "model"
    export_model(
        from_checkpoint(weights), out, ["onnx", "torch"], options=ExportOptions(data=tiny_fer2013)
    )
    return out


@pytest.fixture(scope="module")
def everything(
    make_fer2013: MakeData, tiny_artifact: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[str]]:
    """Every target that needs no checkpoint, and what was said meanwhile."""
    folder = tmp_path_factory.mktemp("everything")
    calibration = folder / "calib.npz"
    draw(make_fer2013(folder / "drawings.zip", 16, 1), 70).save(calibration)
    said: list[str] = []
    options = ExportOptions(calibration=calibration, prepare_only=True)
    export_model(
        from_onnx(tiny_artifact), folder / "face", ["all"], options=options, report=said.append
    )
    return folder / "face", said


def test_the_predictor_answers_as_torch_does(exported: Path, weights: Path) -> None:
    network, spec = checkpoint.load(weights)
    crops = synthetic_crops(9, seed=3)
    with Predictor(exported) as fer:
        given = np.stack([p.probabilities for p in fer.predict_batch(crops)])
        tensors = preprocess_all(crops, fer.info.spec.input)
    with torch.no_grad():
        logits = Normalized(network, spec)(torch.from_numpy(tensors).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(given, softmax(logits, spec.temperature), atol=1e-5)


def test_the_manifest_tells_what_was_measured(exported: Path) -> None:
    entry, torch_entry = Manifest.read(exported).artifacts
    assert entry.sha256 == sha256_of(exported / entry.file)
    assert (entry.target, entry.precision) == ("onnx", "fp32")
    assert {"onnxruntime", "openvino"} == {one.backend for one in entry.measured}
    assert [one.backend for one in torch_entry.measured] == ["torch"]
    for one in (*entry.measured, *torch_entry.measured):
        assert one.parity.crops == 21
        assert one.parity.top1_agreement == 1
        assert one.accuracy is not None
        assert (one.accuracy.n, one.accuracy.use) == (21, "selected on")
        assert one.latency is not None
        assert one.latency.p50_ms > 0


def test_the_file_names_its_parent_and_nothing_of_the_exporting_machine(
    exported: Path, weights: Path
) -> None:
    with Predictor(exported) as fer:
        assert fer.info.spec.provenance.parent_sha256 == sha256_of(weights)
    content = (exported / "model.onnx").read_bytes()
    for trace in (b"site-packages", str(Path.home()).encode(), b".py"):
        assert trace not in content


def test_golden_crops_are_answered_as_the_manifest_says(exported: Path) -> None:
    golden = Manifest.read(exported).golden
    assert len(golden) == 4
    with Predictor(exported) as fer:
        spec = fer.info.spec
        for crop in golden:
            pixels, tensor = crop.arrays()
            np.testing.assert_array_equal(preprocess_all([pixels], spec.input)[0], tensor)
            given = fer.predict(pixels).probabilities
            np.testing.assert_allclose(given, crop.probabilities, atol=1e-5)


def test_every_target_gives_an_artifact_that_passed_its_gate(
    everything: tuple[Path, list[str]],
) -> None:
    manifest = Manifest.read(everything[0])
    built = {(entry.target, entry.precision) for entry in manifest.artifacts}
    assert built == {
        ("onnx", "fp32"),
        ("onnx-fp16", "fp16"),
        ("onnx-int8", "int8"),
        ("openvino-fp32", "fp32"),
        ("openvino-fp16", "fp16"),
        ("openvino-int8", "int8"),
        ("trt-int8", "int8"),
        ("triton", "fp32"),
    }
    assert all(entry.measured for entry in manifest.artifacts)
    assert manifest.precision == "int8"


def test_the_report_has_a_row_for_each_artifact_and_what_was_decided(
    everything: tuple[Path, list[str]],
) -> None:
    folder, said = everything
    text = (folder / "report.md").read_text()
    for entry in Manifest.read(folder).artifacts:
        for one in entry.measured:
            assert f"| {entry.file} | {entry.target} | {entry.precision} |" in text
            assert f"| {one.backend} |" in text
    for decision in (
        "int8 on onnxruntime: model.int8.onnxruntime.onnx takes",
        "int8, the form canonical: kept in float",
        "finish it on the device: fer-export --from-onnx",
    ):
        assert any(decision in line and f"- {line}" in text for line in said), decision


def test_int8_names_its_calibration_set(everything: tuple[Path, list[str]]) -> None:
    with Predictor(everything[0], precision="int8") as fer:
        assert fer.info.spec.provenance.calibration_sha256 is not None


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_golden_crops_hold_on_every_engine(
    backend: str, precision: str, everything: tuple[Path, list[str]]
) -> None:
    tolerance = {"fp32": 1e-4, "fp16": 5e-3, "int8": 0.15}[precision]
    with Predictor(everything[0], backend=backend, precision=precision) as fer:
        for crop in Manifest.read(everything[0]).golden:
            given = fer.predict(crop.arrays()[0]).probabilities
            np.testing.assert_allclose(given, crop.probabilities, atol=tolerance)


def test_a_calibration_set_of_test_pictures_is_refused(
    make_fer2013: MakeData, tiny_artifact: Path, tmp_path: Path
) -> None:
    drawn = draw(make_fer2013(tmp_path / "drawings.zip", 4, 1), 21)
    names = tuple(name.replace("Training", "PublicTest") for name in drawn.crops.names)
    object.__setattr__(drawn.crops, "names", names)
    drawn.save(tmp_path / "calib.npz")
    options = ExportOptions(calibration=tmp_path / "calib.npz")
    with pytest.raises(DataError):
        export_model(from_onnx(tiny_artifact), tmp_path / "out", ["onnx-int8"], options=options)


def test_openvino_gets_the_plain_form_where_its_own_would_change_the_answers(
    tiny_artifact: Path, tiny_fer2013: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quantized = ExportContext.quantized_artifact

    def refuse(context: ExportContext, scheme: str) -> onnx.ModelProto:
        if scheme == "openvino":
            raise GateError("it is too far from float32")
        return quantized(context, scheme)

    monkeypatch.setattr(ExportContext, "quantized_artifact", refuse)
    draw(tiny_fer2013, 28).save(tmp_path / "calib.npz")
    options, said = ExportOptions(calibration=tmp_path / "calib.npz"), list[str]()
    source, out = from_onnx(tiny_artifact), tmp_path / "out"
    made = export_model(source, out, ["openvino-int8"], options=options, report=said.append)
    assert [entry.file for entry in made.artifacts] == ["model.int8.xml"]
    assert "int8 on openvino: its own form is left out: it is too far from float32" in said


def test_a_static_batch_serves_fewer_crops_as_well(tmp_path: Path, tiny_artifact: Path) -> None:
    out = tmp_path / "out"
    export_model(from_onnx(tiny_artifact), out, ["onnx"], options=ExportOptions(batch=8))
    graph = onnx.load(out / "model.onnx").graph
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_value == 8
    with Predictor(out, backend="onnxruntime") as fer:
        assert fer.info.max_batch == 8
        assert len(fer.predict_batch(synthetic_crops(3))) == 3


def test_the_command_that_finishes_an_engine_names_files_that_are_there(
    tiny_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    options = ExportOptions(prepare_only=True)
    out = Path("dist") / "face"
    export_model(from_onnx(tiny_artifact), out, ["trt-fp16"], options=options, report=said.append)
    (line,) = [line for line in said if "finish it on the device" in line]
    words = shlex.split(line.partition("device: ")[2])
    assert words[:2] == ["fer-export", "--from-onnx"]
    assert Path(words[2]).is_file()
    assert words[-2:] == ["--out", "dist/face-trt-fp16"]


def test_what_a_killed_export_left_is_removed_by_the_next(
    tiny_artifact: Path, tmp_path: Path
) -> None:
    left = tmp_path / f".face.{16 * '0'}.tmp"
    other = tmp_path / f".body.{16 * '0'}.tmp"
    for folder in (left, other):
        folder.mkdir()
        (folder / "model.onnx").write_bytes(b"half")
    export_model(from_onnx(tiny_artifact), tmp_path / "face", ["onnx"])
    assert sorted(path.name for path in tmp_path.iterdir()) == [other.name, "face"]


def test_less_than_one_crop_to_compare_on_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="should be 1 or more, not 0"):
        ExportOptions(crops=0)


def test_all_leaves_out_what_cannot_be_built_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(names: list[str], **options: Any) -> list[str]:
        return targets.choose(
            names, ExportOptions(**options), from_checkpoint=True, report=said.append
        )

    said: list[str] = []
    fixed = chosen(["all"], batch=2)
    monkeypatch.delitem(sys.modules, "tritonclient.grpc", raising=False)
    monkeypatch.setitem(sys.modules, "tritonclient", None)
    assert fixed == chosen(["all"]) == [name for name in TARGETS if name != "triton"]
    assert "--batch fixes one" in said[0]
    assert "tritonclient" in said[1]
    with pytest.raises(MissingDependencyError):
        chosen(["triton"])


def _build_shifted(context: ExportContext) -> ArtifactEntry:
    model = context.float_artifact()
    for tensor in model.graph.initializer:
        if tensor.name == "fer_edge.mean":
            shifted = np.full((1, 1, 1, 1), 90, np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(shifted, tensor.name))
    return context.add("onnx", "model.onnx", lambda: model)


def test_an_artifact_that_is_another_network_fails_the_gate(
    tiny_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "model"
    out.mkdir()
    Manifest("old", "fp32", ()).write(out)
    monkeypatch.setitem(TARGETS, "onnx", _build_shifted)
    with pytest.raises(GateError, match="changes a probability by"):
        export_model(from_onnx(tiny_artifact), out, ["onnx"], force=True)
    assert [p.name for p in tmp_path.rglob("*")] == ["model", MANIFEST]


def test_a_failed_gate_keeps_the_sensitivity_beside_the_old_model(
    make_fer2013: MakeData, tmp_path: Path
) -> None:
    draw(make_fer2013(tmp_path / "drawings.zip", 10, 1), 70).save(tmp_path / "calib.npz")
    out = tmp_path / "dist" / "model"
    Manifest("old", "fp32", ()).write(out)
    before = (out / MANIFEST).read_bytes()
    options = ExportOptions(
        data=tmp_path / "drawings.zip", calibration=tmp_path / "calib.npz", allowed_drop=-1
    )
    with pytest.raises(GateError, match=r"is kept in \S*model\.failed-report$"):
        export_model(from_onnx("default"), out, ["onnx-int8"], options=options, force=True)
    kept = out.with_name("model.failed-report")
    assert {path.name for path in out.parent.iterdir()} == {out.name, kept.name}
    assert {path.suffix for path in kept.iterdir()} == {".json", ".csv", ".png"}
    assert json.loads((kept / "sensitivity.json").read_text())["layers"]
    assert [path.name for path in out.iterdir()] == [MANIFEST]
    assert (out / MANIFEST).read_bytes() == before


@pytest.fixture
def no_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "has_tensorrt", lambda: False)


@pytest.mark.usefixtures("no_tensorrt")
@pytest.mark.parametrize(
    ("target", "kind", "told"),
    [
        ("tflite", ConfigurationError, "unknown target tflite; there are onnx, onnx-fp1"),
        ("triton", ConfigurationError, "leave one of them out"),
        ("torch", ConfigurationError, "give --weights"),
        ("onnx-int8", ConfigurationError, "give --calib"),
        ("trt-fp16", MissingDependencyError, "add --prepare-only to make the ONNX"),
    ],
)
def test_a_target_that_cannot_be_built_is_refused_with_what_to_do(
    target: str, kind: type[Exception], told: str, tiny_artifact: Path, tmp_path: Path
) -> None:
    options = ExportOptions(batch=2)
    with pytest.raises(kind, match=told):
        export_model(from_onnx(tiny_artifact), tmp_path / "out", [target], options=options)
    assert not (tmp_path / "out").exists()


def test_the_command_reports_and_writes_json(
    tiny_artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = tmp_path / "result.json"
    out = tmp_path / "out"
    assert main(["--from-onnx", str(tiny_artifact), "--out", str(out), "--json", str(result)]) == 0
    (entry,) = json.loads(result.read_text())["artifacts"]
    assert entry["measured"][0]["parity"]["crops_from"] == "seeded drawings"
    assert entry["measured"][0]["accuracy"] is None
    assert "max |Δp|" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "there is no checkpoint"),
        (b"", "has 0 bytes; copy or download"),
        (b"\x80\x04\x95pickle", "not a safetensors file"),
    ],
)
def test_the_command_exits_with_2_for_a_file_that_is_no_checkpoint(
    content: bytes | None, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, out = tmp_path / "x.safetensors", tmp_path / "out"
    if content is not None:
        weights.write_bytes(content)
    assert main(["--weights", str(weights), "--out", str(out)]) == 2
    assert told in capsys.readouterr().err
    assert not out.exists()


def test_the_command_exits_with_2_for_an_existing_directory_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Manifest("old", "fp32", ()).write(tmp_path)
    assert main(["--weights", str(tmp_path / "no"), "--out", str(tmp_path)]) == 2
    assert "give --force to replace it" in capsys.readouterr().err


def test_the_command_exits_with_3_for_a_plan_without_tensorrt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if targets.has_tensorrt():
        pytest.skip("TensorRT is installed here")
    out = tmp_path / "out"
    assert main(["--from-onnx", "default", "--target", "trt-fp16", "--out", str(out)]) == 3
    assert capsys.readouterr().err.count("\n") == 1
