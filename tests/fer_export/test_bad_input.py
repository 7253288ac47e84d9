"""What bad input gets from fer-export: one line, an exit code, and the old directory as it was."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from safetensors.numpy import save_file

from fer_edge.artifacts.manifest import Manifest
from fer_export.cli import main

Make = Callable[[Path, Path], list[str]]


def _without_a_spec(folder: Path, _: Path) -> list[str]:
    save_file({"weight": np.zeros(3, np.float32)}, folder / "bare.safetensors")
    return ["--weights", str(folder / "bare.safetensors")]


def _corrupt(folder: Path, artifact: Path) -> list[str]:
    (folder / "corrupt.onnx").write_bytes(artifact.read_bytes()[:-2000])
    return ["--from-onnx", str(folder / "corrupt.onnx")]


def _with_an_unknown_operator(folder: Path, artifact: Path) -> str:
    model = onnx.load(artifact)
    flatten = next(node for node in model.graph.node if node.op_type == "Flatten")
    flatten.op_type, flatten.domain = "Warp", "acme"
    model.opset_import.append(helper.make_opsetid("acme", 1))
    onnx.save(model, folder / "warp.onnx")
    return str(folder / "warp.onnx")


def _foreign_to_openvino(folder: Path, artifact: Path) -> list[str]:
    source = _with_an_unknown_operator(folder, artifact)
    return ["--from-onnx", source, "--target", "openvino-fp32"]


def _foreign_to_tensorrt(folder: Path, artifact: Path) -> list[str]:
    source = _with_an_unknown_operator(folder, artifact)
    return ["--from-onnx", source, "--target", "trt-fp16", "--prepare-only"]


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _is_one_line(text: str) -> bool:
    return "Traceback" not in text and text.count("\n") == 1 and text.startswith("fer-export: ")


@pytest.mark.parametrize("old", [True, False], ids=["replacing", "new"])
@pytest.mark.parametrize(
    "make", [_without_a_spec, _corrupt, _foreign_to_openvino, _foreign_to_tensorrt]
)
def test_bad_input_is_one_line_and_leaves_all_as_it_was(
    make: Make, old: bool, tiny_artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = make(tmp_path, tiny_artifact)
    out = tmp_path / "dist" / "model"
    out.parent.mkdir()
    if old:
        Manifest("old", "fp32", ()).write(out)
    before = _contents(tmp_path)
    assert main([*words, "--out", str(out), "--force"]) == 2
    assert _is_one_line(capsys.readouterr().err)
    assert _contents(tmp_path) == before
    assert [path.name for path in out.parent.iterdir()] == (["model"] if old else [])


def test_the_folder_that_one_is_in_is_refused(
    tiny_artifact: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for out in (".", "..", "/"):
        assert main(["--from-onnx", str(tiny_artifact), "--out", out]) == 2
        assert _is_one_line(capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


def test_a_parent_that_is_read_only_is_one_line(
    tiny_artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if os.geteuid() == 0:
        pytest.skip("run by root, whom a folder's mode does not stop")
    parent = tmp_path / "parent"
    parent.mkdir(mode=0o555)
    assert main(["--from-onnx", str(tiny_artifact), "--out", str(parent / "model")]) == 2
    assert _is_one_line(capsys.readouterr().err)
    assert not list(parent.iterdir())
