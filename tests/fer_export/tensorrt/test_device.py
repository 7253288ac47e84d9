"""The whole way on a device: from a prepared ONNX to a proved model directory and an answer."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nvidia_builder.layers import read_layers
from tensorrt_double.cuda import CudaDouble
from tensorrt_double.engine import TensorRtDouble

from fer_edge import Predictor
from fer_edge.artifacts.manifest import Manifest
from fer_edge.cli.diagnosis import diagnose
from fer_edge.errors import GateError
from fer_export.cli import main
from fer_export.model_directory import artifact_entry
from fer_export.options import ExportOptions
from fer_export.pipeline import export_model
from fer_export.source import from_onnx


@pytest.fixture
def command(prepared: Path, tmp_path: Path) -> list[str]:
    out = tmp_path / "dist"
    return ["--from-onnx", str(prepared), "--target", "trt-fp16", "--out", str(out)]


def test_the_command_builds_proves_and_lists_a_plan_that_predictor_runs(
    nvidia: TensorRtDouble,
    command: list[str],
    prepared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = artifact_entry(prepared.parent, prepared.name, "onnx-fp16", "fp16")
    Manifest("source", "fp16", (source,), notes=("a note",)).sealed().write(prepared.parent)
    with monkeypatch.context() as device:
        for name in ("torch", "onnx"):
            device.setitem(sys.modules, name, None)
        assert main(command) == 0
    out = tmp_path / "dist"
    manifest = Manifest.read(out)
    assert manifest.notes == ("a note",)
    (entry,) = [entry for entry in manifest.artifacts if entry.target == "trt-fp16"]
    assert [one.file for one in entry.companions] == [
        f"{entry.file}.json",
        f"{entry.file}.layers.json",
    ]
    (measured,) = entry.measured
    assert measured.parity.crops == 512
    assert measured.latency is not None
    assert measured.latency.p50_ms > 0
    assert f"| {entry.file} | trt-fp16 | fp16 |" in (out / "report.md").read_text()
    assert (tmp_path / "dist.timing-cache").exists()
    crops = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 1), np.uint8)
    with Predictor(out, backend="tensorrt") as fer, Predictor(prepared) as reference:
        assert fer.info.precision == fer.info.inference_precision == "fp16"
        for given, exact in zip(
            fer.predict_tensor(crops), reference.predict_tensor(crops), strict=True
        ):
            assert given == pytest.approx(exact, abs=1e-5)
    assert diagnose(out).works  # its golden crops are answered


def test_the_plan_is_compared_on_as_many_crops_as_asked_for(
    nvidia: TensorRtDouble, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--crops", "0"]) == 2
    assert "should be 1 or more, not 0" in capsys.readouterr().err
    assert main([*command, "--crops", "9"]) == 0
    measured = [
        one for entry in Manifest.read(tmp_path / "dist").artifacts for one in entry.measured
    ]
    assert [one.parity.crops for one in measured] == [9]


def test_golden_crops_are_those_of_the_directory_that_the_onnx_lies_in(
    nvidia: TensorRtDouble, tiny_artifact: Path, tmp_path: Path
) -> None:
    options = ExportOptions(prepare_only=True)
    made = export_model(from_onnx(tiny_artifact), tmp_path / "made", ["trt-fp32"], options=options)
    source = str(tmp_path / "made" / "model.onnx")
    out = tmp_path / "dist"
    assert main(["--from-onnx", source, "--target", "trt-fp32", "--out", str(out)]) == 0
    assert Manifest.read(out).golden == made.golden


def test_where_tensorrt_is_plans_are_built_proved_and_timed_beside_the_others(
    nvidia: TensorRtDouble, tiny_artifact: Path, tmp_path: Path
) -> None:
    manifest = export_model(from_onnx(tiny_artifact), tmp_path / "out", ["onnx", "trt-fp32"])
    (entry,) = [entry for entry in manifest.artifacts if entry.target == "trt-fp32"]
    (measured,) = entry.measured
    assert measured.backend == "tensorrt"
    assert measured.latency is not None
    assert measured.latency.threads is None


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--prepare-only"], "is prepared already; on the device: fer-export --from-onnx"),
        (["--batch", "4", "--max-drop", "1"], "leave out --batch, --max-drop"),
    ],
)
def test_options_that_decide_on_the_onnx_come_too_late(
    more: list[str], told: str, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main([*command, *more]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "dist").exists()


def test_a_packaged_int8_is_prepared_already_unless_there_is_data_to_calibrate_on(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["--from-onnx", "default", "--target", "trt-int8", "--prepare-only"]
    command += ["--out", str(tmp_path / "dist")]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "model.int8.onnx is prepared already; on the device: fer-export --from-onnx" in said
    assert "With --data or --calib, int8 beside float16" in said

    def build(*_: Any) -> Any:
        raise GateError("built from fp32")

    monkeypatch.setattr("fer_export.cli._build", build)
    assert main([*command, "--calib", "calib.npz"]) == 1
    assert "built from fp32" in capsys.readouterr().err


def test_an_fp32_onnx_is_prepared_where_tensorrt_is_not(
    tiny_artifact: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    source = ["--from-onnx", str(tiny_artifact), "--target", "trt-fp32", "--prepare-only"]
    assert main([*source, "--out", str(out)]) == 0
    assert [entry.file for entry in Manifest.read(out).artifacts] == ["model.onnx"]


def test_layers_of_another_precision_end_it_with_1_and_no_plan(
    nvidia: TensorRtDouble,
    command: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def spoilt(message: str) -> list[dict[str, Any]]:
        return json.loads(json.dumps(read_layers(message)).replace('"Half"', '"Float"'))

    monkeypatch.setattr("tensorrt_double.fixtures.read_layers", spoilt)
    assert main(command) == 1
    assert "classifier should be fp16" in capsys.readouterr().err
    assert not (tmp_path / "dist").exists()
    assert (tmp_path / "model.fp16.plan.layers.json").exists()


@pytest.mark.parametrize("overflowed", [False, True])
def test_wrong_answers_end_it_with_1_and_name_nvidias_tools(
    nvidia: TensorRtDouble,
    command: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    overflowed: bool,
) -> None:
    onnx = pytest.importorskip("onnx", reason="no onnx to make a wrong engine with")
    from onnx import numpy_helper

    def wrong(self: TensorRtDouble, name: str, value: Any) -> None:
        if name == "model":
            model = onnx.load_from_string(value)
            (bias,) = [one for one in model.graph.initializer if one.name.startswith("bias")]
            other = numpy_helper.to_array(bias)[::-1].copy()
            if overflowed:
                other[:] = np.inf
            bias.CopyFrom(numpy_helper.from_array(other, bias.name))
            value = model.SerializeToString()
        object.__setattr__(self, name, value)

    monkeypatch.setattr(TensorRtDouble, "__setattr__", wrong)
    assert main(command) == 1
    said = capsys.readouterr().err
    assert ("are not finite" if overflowed else "is not the network that it was made") in said
    assert "trtexec --onnx=" in said
    assert "polygraphy run " in said
    assert not (tmp_path / "dist").exists()


def test_without_a_gpu_it_ends_with_3_and_one_line(
    tensorrt: TensorRtDouble,
    cuda: CudaDouble,
    command: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cuda.failing["cudaGetDeviceProperties"] = cuda.cudaError_t.cudaErrorNoDevice
    assert main(command) == 3
    lines = [line for line in capsys.readouterr().err.splitlines() if "fer-export:" in line]
    assert len(lines) == 1
    assert "no usable GPU" in lines[0]
    assert not (tmp_path / "dist").exists()


def test_another_target_than_the_onnx_was_prepared_for_ends_it_with_2(
    tensorrt: TensorRtDouble, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command[:3], "trt-int8", *command[4:]]) == 2
    assert "is fp16, and trt-int8 is built from int8" in capsys.readouterr().err
    assert not (tmp_path / "dist").exists()
