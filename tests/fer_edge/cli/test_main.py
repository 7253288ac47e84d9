"""fer-edge: help, usage and exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fer_edge.cli import main

COMMANDS = ("predict", "info", "doctor")


@pytest.mark.parametrize("arguments", [[], *([command] for command in COMMANDS)])
def test_help_is_an_exit_without_an_error(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "--help"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith(" ".join(["usage: fer-edge", *arguments]))


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert all(f"\n    {command} " in shown for command in COMMANDS)


def test_help_works_without_any_engine() -> None:
    code = (
        "import sys\n"
        "for name in ('onnxruntime', 'torch', 'openvino', 'tensorrt'): sys.modules[name] = None\n"
        "from fer_edge.cli import main\n"
        "main(['predict', '--help'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["train"],
        ["predict"],
        ["predict", "a.png", "--colour"],
        ["predict", "a.png", "--precision", "int4"],
        ["predict", "a.png", "--threads", "two"],
        ["predict", "a.png", "--crop", "--detector", "haar"],
        ["info", "a", "b"],
    ],
)
def test_bad_usage_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: fer-edge" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--backend", "tflite"], 2, "unknown backend 'tflite'"),
        (["--device", "tpu"], 2, "on the device 'tpu'"),
        (["--precision", "int8"], 2, "has no int8 artifact"),
        (["--threads", "0"], 2, "from 1 to 1024, not 0"),
    ],
)
def test_a_wish_that_cannot_be_met_is_one_line(
    model_directory: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    code: int,
    message: str,
) -> None:
    assert main(["info", str(model_directory), *options]) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert message in shown.err


def test_a_device_that_is_missing_is_exit_code_3(
    model_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert main(["info", str(model_directory), "--device", "cuda"]) == 3


def test_the_package_can_be_run_as_a_module(model_directory: Path, root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fer_edge", "info", str(model_directory), "--threads", "1"],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
        env={**os.environ, "LC_ALL": "C"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "CPUExecutionProvider" in done.stdout
