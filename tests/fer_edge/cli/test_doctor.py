"""fer-edge doctor."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fer_edge import DownloadError
from fer_edge.cli import main


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
    (model_directory / "model.onnx").write_bytes(b"")
    assert main(["doctor", "--model", str(model_directory)]) == 2
    shown = capsys.readouterr().out
    assert "is damaged" in shown
    for title in ("backends (auto takes the first of ", "face detection", "devices", "extras"):
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
        "backends",
        "auto_order",
        "faces",
        "devices",
        "extras",
        "problems",
        "python",
        "system",
    ]
    assert (value["schema"], value["works"]) == ("fer-edge-doctor/1", True)
    checks = [value["model"], value["faces"]]
    checks += [check for key in ("backends", "devices", "extras") for check in value[key]]
    assert all(list(check) == ["name", "ok", "detail"] for check in checks)


def test_packages_that_overwrite_each_other_are_shown(
    model_directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.metadata.distribution", lambda name: name)
    main(["doctor", "--model", str(model_directory)])
    assert "\nproblem: onnxruntime and onnxruntime-gpu" in capsys.readouterr().out


def test_yunet_is_fetched_first(
    model_directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fer_edge.cli.doctor.fetch_yunet", lambda: Path("the/yunet.onnx"))
    assert main(["doctor", "--model", str(model_directory), "--fetch-yunet"]) == 0
    assert capsys.readouterr().out.startswith("YuNet lies at the/yunet.onnx\n")


def test_a_failed_fetch_is_exit_code_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def offline() -> Path:
        raise DownloadError("the server cannot be reached")

    monkeypatch.setattr("fer_edge.cli.doctor.fetch_yunet", offline)
    assert main(["doctor", "--fetch-yunet"]) == 3
    assert capsys.readouterr() == ("", "fer-edge: the server cannot be reached\n")
