"""fer-bench: accuracy as a command."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fer_bench.cli import main
from fer_edge import LABELS, ModelSpec, Predictor
from fer_edge.backends.onnxruntime_engine import ort
from fer_edge.errors import MissingDependencyError

KEYS = [
    "model", "sha256", "backend", "provider", "precision", "inference_precision", "split", "n",
    "accuracy", "accuracy_ci95", "accuracy_without_copies", "n_without_copies", "macro_f1", "ece",
    "nll", "per_class", "confusion", "reliability", "agreement", "right", "data_sha256",
]  # fmt: skip


def measured(out: Path) -> list[dict[str, Any]]:
    value = json.loads(out.read_text())
    assert list(value) == [
        "schema", "reference", "results", "failures", "mcnemar", "environment"
    ]  # fmt: skip
    assert value["environment"]["versions"]["onnxruntime"] == ort.__version__
    assert value["schema"] == "fer-bench-accuracy/2"
    results: list[dict[str, Any]] = value["results"]
    return results


@pytest.fixture
def arguments(tiny_artifact: Path, tiny_fer2013: Path, tmp_path: Path) -> list[str]:
    """What measures the tiny model on drawings, into ``out.json``."""
    out = tmp_path / "out.json"
    return ["accuracy", str(tiny_artifact), "--data", str(tiny_fer2013), "--json", str(out)]


def test_the_result_has_the_documented_form(
    arguments: list[str], tiny_artifact: Path, tmp_path: Path
) -> None:
    assert main(arguments) == 0
    (result,) = measured(tmp_path / "out.json")
    assert list(result) == KEYS
    assert result["model"] == str(tiny_artifact)
    assert result["sha256"] == hashlib.sha256(tiny_artifact.read_bytes()).hexdigest()
    assert (result["backend"], result["provider"]) == ("onnxruntime", "CPUExecutionProvider")
    assert (result["precision"], result["inference_precision"]) == ("fp32", "fp32")
    assert (result["split"], result["n"], result["n_without_copies"]) == ("public-test", 21, 21)
    assert list(result["per_class"]) == list(LABELS)
    for scores in result["per_class"].values():
        assert list(scores) == ["precision", "recall", "f1", "support"]
        assert scores["support"] == 3
    assert [sum(row) for row in result["confusion"]] == [3] * 7


def test_rates_are_fractions_that_agree_with_the_pictures_themselves(
    arguments: list[str], tiny_artifact: Path, tiny_fer2013: Path, tmp_path: Path
) -> None:
    right = total = 0
    with Predictor(tiny_artifact) as fer, zipfile.ZipFile(tiny_fer2013) as archive:
        for name in archive.namelist():
            half, label, _ = name.split("/")
            if half == "test":
                pixels = cv2.imdecode(np.frombuffer(archive.read(name), np.uint8), -1)
                right += fer.predict(pixels).emotion == label
                total += 1
    assert 0 < right < total
    assert main(arguments) == 0
    (result,) = measured(tmp_path / "out.json")
    assert result["accuracy"] == result["accuracy_without_copies"] == right / total
    low, high = result["accuracy_ci95"]
    assert 0 <= low < right / total < high <= 1


@pytest.mark.parametrize(("split", "count"), [("train", 28), ("test", 21)])
def test_the_split_is_as_asked(
    arguments: list[str], tmp_path: Path, split: str, count: int
) -> None:
    assert main([*arguments, "--split", split]) == 0
    (result,) = measured(tmp_path / "out.json")
    assert (result["split"], result["n"]) == (split, count)


def test_a_person_reads_the_figures(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    (result,) = measured(tmp_path / "out.json")
    shown = capsys.readouterr().out
    assert f"accuracy {result['accuracy']:.2%} [" in shown
    assert "on the 21 that are not in train" in shown
    assert all(f"\n  {label} " in shown for label in LABELS)


def test_a_model_that_does_not_open_is_listed_with_the_reason(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"no protobuf at all")
    assert main([*arguments[:2], str(damaged), *arguments[2:]]) == 1
    assert len(measured(tmp_path / "out.json")) == 1
    (bad,) = json.loads((tmp_path / "out.json").read_text())["failures"]
    assert bad["model"] == str(damaged)
    assert bad["error"] in capsys.readouterr().err


def test_models_are_tested_against_each_other_and_a_reference(
    arguments: list[str],
    make_artifact: Callable[[Path, ModelSpec], Path],
    tiny_spec: ModelSpec,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = make_artifact(tmp_path / "other.onnx", tiny_spec.with_changes(temperature=0.3))
    picture = tmp_path / "reliability.png"
    extra = ["--reference", arguments[1], "--reliability", str(picture)]
    assert main([*arguments[:2], str(other), *arguments[2:], *extra]) == 0
    first, second = measured(tmp_path / "out.json")
    assert (first["model"], second["model"]) == (arguments[1], str(other))
    assert first["nll"] < second["nll"]
    assert json.loads((tmp_path / "out.json").read_text())["reference"] == arguments[1]
    assert first["agreement"] == {"top1": 1.0, "mean_kl": 0.0, "max_difference": 0.0}
    # another temperature: the same answers, other probabilities
    assert second["agreement"]["top1"] == 1.0
    assert second["agreement"]["mean_kl"] > 0.01
    (test,) = json.loads((tmp_path / "out.json").read_text())["mcnemar"]
    assert (test["n"], test["only_first"], test["only_second"], test["p_value"]) == (21, 0, 0, 1.0)
    assert sum(entry["count"] for entry in first["reliability"]) == 21
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "McNemar p = 1" in capsys.readouterr().out


def test_without_matplotlib_the_figures_are_printed(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lacking(*_: object) -> None:
        raise MissingDependencyError("matplotlib", "bench")

    monkeypatch.setattr("fer_bench.cli.accuracy.draw_reliability", lacking)
    assert main([*arguments, "--reliability", "x.png"]) == 3
    assert "macro-F1" in capsys.readouterr().out


def test_a_missing_model_is_found_before_anything_is_measured(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = str(tmp_path / "gone.onnx")
    assert main([*arguments[:2], gone, *arguments[2:]]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"no model at {gone}" in shown.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", ["gone.zip", "."])
def test_data_that_are_none_are_exit_code_2(
    tiny_artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    assert main(["accuracy", str(tiny_artifact), "--data", str(tmp_path / missing)]) == 2
    assert capsys.readouterr().err.startswith("fer-bench: ")


def test_it_runs_from_a_shell(arguments: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fer_bench", *arguments, "--threads", "1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(measured(tmp_path / "out.json")) == 1


def test_a_damaged_model_alone_is_bad_input_told_with_its_path_once(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"no protobuf at all")
    assert main(["accuracy", str(damaged), *arguments[2:]]) == 2
    assert measured(tmp_path / "out.json") == []
    assert capsys.readouterr().err.count(str(damaged)) == 1
