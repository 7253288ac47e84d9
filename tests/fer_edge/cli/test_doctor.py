"""fer-edge doctor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fer_edge.backends import BACKENDS
from fer_edge.backends.tune import tune
from fer_edge.backends.tuning_record import Candidate, Failure, Timing, Tuning
from fer_edge.cli import main


@pytest.fixture
def only_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation with one engine."""
    for name in set(BACKENDS) - {"onnxruntime"}:
        monkeypatch.delitem(BACKENDS, name)
    for module in ("choose_backend", "table"):
        monkeypatch.setattr(f"fer_edge.backends.{module}.AUTO_ORDER", ("onnxruntime",))


def test_with_a_good_model_it_is_well(
    model_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--model", str(model_directory)]) == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = (line for line in lines if str(model_directory) in line)
    assert line.split()[0] == "ok"


def test_with_a_model_of_wrong_answers_it_is_exit_code_1(
    make_model_directory: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_model_directory(error=0.1)
    assert main(["doctor", "--model", str(folder)]) == 1
    assert f"--  {folder}" in capsys.readouterr().out


def test_with_a_damaged_model_it_still_tells_the_rest(
    model_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (model_directory / "model.onnx").write_bytes(b"onnx")
    assert main(["doctor", "--model", str(model_directory)]) == 2
    shown = capsys.readouterr().out
    assert "is damaged" in shown
    titles = ("core", "backends (auto takes the first of ", "face detection", "devices", "extras")
    for title in titles:
        assert f"\n{title}" in shown


@pytest.mark.usefixtures("no_default_model")
def test_without_the_packaged_model_it_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 2
    assert "--  default" in capsys.readouterr().out


def test_machines_read_every_finding(model_directory: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert main(["doctor", "--model", str(model_directory), "--json", str(out)]) == 0
    value = json.loads(out.read_text())
    assert list(value) == [
        "schema",
        "works",
        "exit_code",
        "model",
        "core",
        "backends",
        "auto_order",
        "auto",
        "faces",
        "devices",
        "extras",
        "problems",
        "python",
        "system",
    ]
    assert (value["schema"], value["works"]) == ("fer-edge-doctor/2", True)
    checks = [value["model"], value["auto"], value["faces"]]
    checks += [check for key in ("core", "backends", "devices", "extras") for check in value[key]]
    assert all(list(check) == ["name", "ok", "detail"] for check in checks)


def test_packages_that_overwrite_each_other_are_shown(
    model_directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    installed = [SimpleNamespace(name=name) for name in ("onnxruntime", "onnxruntime-gpu")]
    monkeypatch.setattr("importlib.metadata.distributions", lambda: installed)
    main(["doctor", "--model", str(model_directory)])
    assert "\nproblem: onnxruntime and onnxruntime-gpu" in capsys.readouterr().out


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What is measured, in no time."""
    asked: list[tuple[str, dict[str, Any]]] = []

    def quickly(model: str, **options: Any) -> Tuning:
        asked.append((model, options))
        return tune(model, **options, threads=(1,), seconds=0.005)

    monkeypatch.setattr("fer_edge.cli.doctor.tune", quickly)
    return asked


@pytest.mark.usefixtures("only_onnxruntime")
def test_tune_measures_shows_the_table_and_says_what_auto_takes(
    model_directory: Path,
    measured: list[tuple[str, dict[str, Any]]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = str(model_directory)
    assert main(["doctor", "--tune", "--model", model]) == 0
    assert measured == [(model, {"precision": None, "device": "auto"})]
    shown = capsys.readouterr().out
    (row,) = (line for line in shown.splitlines() if line.endswith("<- auto takes this"))
    assert row.split()[:2] == ["onnxruntime", "1"]
    assert "onnxruntime: the fastest of 1 ways that fer-edge doctor --tune measured here" in shown


@pytest.mark.usefixtures("only_onnxruntime")
def test_machines_read_what_was_measured(
    model_directory: Path, measured: list[tuple[str, dict[str, Any]]], tmp_path: Path
) -> None:
    out = tmp_path / "out.json"
    arguments = ["doctor", "--tune", "--model", str(model_directory), "--precision", "fp32"]
    assert main([*arguments, "--device", "cpu", "--json", str(out)]) == 0
    assert measured[0][1] == {"precision": "fp32", "device": "cpu"}
    tuning = json.loads(out.read_text())["tuning"]
    (timing,) = tuning["timings"]
    assert timing["p50_ms"] > 0
    assert (timing["backend"], timing["threads"]) == ("onnxruntime", 1)


def test_a_backend_that_cannot_be_measured_is_shown(
    model_directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    timing = Timing("onnxruntime", None, 0.5, "GPU", "fp16")
    tried = (Candidate("onnxruntime", "0" * 64, "onnxruntime 1.0"),)
    failed = (Failure("torch", "broken"),)
    found = Tuning("m", "fp32", "auto", "here", "2026-11-22", tried, (timing,), failed)
    monkeypatch.setattr("fer_edge.cli.doctor.tune", lambda *_, **__: found)
    main(["doctor", "--tune", "--model", str(model_directory)])
    shown = capsys.readouterr().out
    assert "torch        could not be measured: broken" in shown
    assert "onnxruntime        -     0.500  fp16, GPU  <- auto takes this" in shown


def test_with_nothing_to_measure_it_is_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--tune", "--model", str(tmp_path / "none.onnx")]) == 2
    assert "there is no model at" in capsys.readouterr().err


DOCTOR = """
import sys
from fer_edge.backends import BACKENDS, choose_backend
from fer_edge.cli import main
for slow in ("openvino", "tensorrt", "torch"):
    del BACKENDS[slow]
choose_backend.AUTO_ORDER = ("onnxruntime",)
sys.exit(main(["doctor", "--model", sys.argv[1]]))
"""


@pytest.mark.parametrize(
    ("broken", "findings"), [("cv2", ("cv2", "faces")), ("onnxruntime", ("onnxruntime", "faces"))]
)
def test_a_package_that_does_not_load_is_a_finding_and_stops_nothing(
    broken: str, findings: tuple[str, ...], model_directory: Path, tmp_path: Path, root: Path
) -> None:
    (tmp_path / "path" / broken).mkdir(parents=True)
    (tmp_path / "path" / broken / "__init__.py").write_text("raise ImportError('libx.so: none')")
    answer = subprocess.run(
        [sys.executable, "-c", DOCTOR, str(model_directory)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path / "path"), str(root)))},
        check=False,
    )
    assert (answer.returncode, answer.stderr) == (3, "")
    told = [line.split() for line in answer.stdout.splitlines() if "imported: libx.so" in line]
    assert {(words[0], words[1]) for words in told} == {("--", name) for name in findings}
