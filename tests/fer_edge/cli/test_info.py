"""fer-edge info."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from fer_edge import ModelSpec
from fer_edge.cli import main


@pytest.fixture
def sha256(tiny_artifact: Path) -> str:
    return hashlib.sha256(tiny_artifact.read_bytes()).hexdigest()


def told(model: Path, folder: Path, *options: str) -> dict[str, Any]:
    assert main(["info", str(model), "--json", str(folder / "out.json"), *options]) == 0
    value: dict[str, Any] = json.loads((folder / "out.json").read_text())
    return value


def test_of_a_directory_it_tells_what_runs_and_what_there_is(
    model_directory: Path, tmp_path: Path, sha256: str, tiny_spec: ModelSpec
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    value = told(model_directory, tmp_path, "--threads", "2", "--device", "cpu")
    size = (model_directory / "model.onnx").stat().st_size
    assert "installed" in value["runs"].pop("reason")
    assert value == {
        "schema": "fer-edge-info/1",
        "runs": {
            "artifact": str(model_directory / "model.onnx"),
            "sha256": sha256,
            "backend": "onnxruntime",
            "version": onnxruntime.__version__,
            "device": "cpu",
            "provider": "CPUExecutionProvider",
            "precision": "fp32",
            "inference_precision": "fp32",
            "threads": 2,
            "concurrency": 1,
            "max_batch": None,
        },
        "spec": json.loads(tiny_spec.to_json()),
        "artifacts": [
            {
                "file": "model.onnx",
                "sha256": sha256,
                "size_bytes": size,
                "target": "onnx",
                "precision": "fp32",
                "companions": [],
                "backends": [],
                "measured": [],
            }
        ],
    }


def test_of_an_artifact_it_tells_what_runs(
    tiny_artifact: Path, tmp_path: Path, sha256: str
) -> None:
    value = told(tiny_artifact, tmp_path)
    assert value["runs"]["sha256"] == sha256
    assert value["artifacts"] == []


def test_a_person_reads_the_same(
    model_directory: Path, sha256: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", str(model_directory)]) == 0
    words = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    for expected in (
        ["sha256", sha256],
        ["provider", "CPUExecutionProvider"],
        ["architecture", "tiny"],
        ["mean", "0.5"],
        ["labels", "angry, disgust, fear, happy, sad, surprise, neutral"],
    ):
        assert expected in words


def test_artifacts_are_lines_and_no_raw_values(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    assert "{" not in text
    (line,) = (line for line in text.splitlines() if line.startswith("  model.onnx "))
    assert re.search(r"fp32, onnx, \d+\.\d MB, sha256 \w{12}…$", line)
    assert re.search(r"\n    \w+ [\d.]+: accuracy [\d.]+% \[.*\] on public-test \(n=3589", text)


@pytest.mark.usefixtures("no_default_model")
def test_without_the_packaged_model_it_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 2
    assert capsys.readouterr().err.startswith("fer-edge: the packaged model is missing")


def test_a_missing_model_writes_no_json(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert main(["info", str(tmp_path / "gone.onnx"), "--json", str(out)]) == 2
    assert list(tmp_path.iterdir()) == []
