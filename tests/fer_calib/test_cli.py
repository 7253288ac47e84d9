"""The command fer-calib."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fer_calib.calibration import load
from fer_calib.cli import main


def test_the_command_writes_a_set_and_says_what_it_is(
    tiny_fer2013: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, result = tmp_path / "calib.npz", tmp_path / "result.json"
    arguments = ["--data", str(tiny_fer2013), "--out", str(out), "--count", "14"]
    assert main([*arguments, "--json", str(result)]) == 0
    digest = load(out).sha256
    assert capsys.readouterr().out == f"{out}: 14 crops, sha256 {digest}\n"
    assert json.loads(result.read_text()) == {
        "schema": "fer-calib/1",
        "out": str(out),
        "count": 14,
        "sha256": digest,
        "note": None,
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--count", "6"], "at least 7"),
        (["--count", "29"], "ask for at most 28 with --count"),
        (["--count", "14", "--seed", "-1"], "--seed should be 0 or more, not -1"),
    ],
)
def test_what_cannot_be_drawn_ends_with_2_and_leaves_nothing(
    arguments: list[str],
    message: str,
    tiny_fer2013: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "calib.npz"
    assert main(["--data", str(tiny_fer2013), "--out", str(out), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


def test_data_that_is_not_there_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "calib.npz"
    assert main(["--data", "none.zip", "--out", str(out), "--count", "14"]) == 2
    assert "no FER2013 at none.zip" in capsys.readouterr().err
    assert not out.exists()


def test_the_module_is_the_command() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "fer_calib", "--help"], capture_output=True, text=True, check=True
    )
    assert ended.stdout.startswith("usage: fer-calib")


def test_the_set_never_replaces_the_data(tiny_fer2013: Path) -> None:
    before = tiny_fer2013.read_bytes()
    assert main(["--data", str(tiny_fer2013), "--out", str(tiny_fer2013), "--count", "14"]) == 2
    assert tiny_fer2013.read_bytes() == before
