"""kill -9 at random moments: afterwards the old result is there, or the new one, whole."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from fer_calib import calibration
from fer_calib.cli import main as fer_calib
from fer_edge.artifacts.manifest import Manifest
from fer_edge.system.files import sha256_of
from fer_export.cli import main as fer_export
from fer_train.cli import main as fer_train

KILLS = int(os.environ.get("FER_KILLS", "0"))


def _calibration_kills(killer: Any, data: Path, folder: Path, kills: int) -> int:
    out, hashes = folder / "calib.npz", {}
    for seed in (0, 1):
        words = ["--data", data, "--out", out, "--count", 14, "--seed", seed]
        seconds = killer.run(fer_calib, words)
        hashes[sha256_of(out)] = seed
    assert len(hashes) == 2
    cut = 0
    for number in range(kills):
        words = ["--data", data, "--out", out, "--count", 14, "--seed", number % 2]
        cut += killer.kill(fer_calib, words, seconds)
        assert sha256_of(out) in hashes
        calibration.load(out)
    return cut


def test_a_killed_calibration_leaves_the_old_set_or_the_new(
    killer: Any, tiny_fer2013: Path, tmp_path: Path
) -> None:
    kills = KILLS or 8
    cut = _calibration_kills(killer, tiny_fer2013, tmp_path, kills)
    assert cut >= kills // 3, "most kills came too late to cut anything"


def _whole(folder: Path) -> str:
    """Which model a directory holds, after every file of it was held against its hash."""
    manifest = Manifest.read(folder)
    for entry in manifest.artifacts:
        for file in (entry, *entry.companions):
            assert sha256_of(folder / file.file) == file.sha256, file.file
    return manifest.artifacts[0].sha256


@pytest.mark.long
def test_a_killed_export_leaves_the_old_directory_or_the_new(
    killer: Any, make_weights: Callable[[int], Path], tmp_path: Path
) -> None:
    kills = KILLS or 2
    out, known = tmp_path / "dist", set()
    for seed in (0, 1):
        words = ["--weights", make_weights(seed), "--out", out, "--target", "onnx", "--force"]
        seconds = killer.run(fer_export, words)
        known.add(_whole(out))
    assert len(known) == 2
    cut = 0
    for number in range(kills):
        weights = make_weights(number % 2)
        words = ["--weights", weights, "--out", out, "--target", "onnx", "--force"]
        cut += killer.kill(fer_export, words, seconds)
        assert _whole(out) in known
    assert cut >= kills // 3, "most kills came too late to cut anything"


@pytest.mark.long
@pytest.mark.parametrize("target", ["onnx-int8", "openvino-int8", "triton"])
def test_a_killed_export_of_many_files_leaves_the_old_directory_or_the_new(
    target: str, killer: Any, tiny_artifact: Path, tiny_fer2013: Path, tmp_path: Path
) -> None:
    if not KILLS:
        pytest.skip("kills by the dozen: give their number in FER_KILLS")
    out, calib = tmp_path / "dist", tmp_path / "calib.npz"
    killer.run(fer_calib, ["--data", tiny_fer2013, "--out", calib, "--count", 28])
    words = ["--from-onnx", tiny_artifact, "--calib", calib, "--out", out, "--target", target]
    seconds = killer.run(fer_export, words)
    cut = 0
    for _ in range(KILLS):
        cut += killer.kill(fer_export, [*words, "--force"], seconds)
        _whole(out)
    assert cut >= KILLS // 3, "most kills came too late to cut anything"


@pytest.mark.long
def test_a_killed_first_export_leaves_nothing_or_the_whole(
    killer: Any, make_weights: Callable[[int], Path], tmp_path: Path
) -> None:
    """Nothing that a Predictor would take for a model, that is."""
    words = ["--weights", make_weights(0), "--target", "onnx"]
    seconds = killer.run(fer_export, [*words, "--out", tmp_path / "first"])
    for number in range((KILLS // 5) or 2):
        out = tmp_path / f"dist{number}"
        killer.kill(fer_export, [*words, "--out", out], seconds)
        if out.exists():
            _whole(out)
            shutil.rmtree(out)


def _check_run(folder: Path) -> None:
    """Every file of a training that is there can be read to its end."""
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="pt") as stream:
            assert all(torch.isfinite(stream.get_tensor(n)).all() for n in stream.keys())  # noqa: SIM118
    for file in folder.glob("*.json"):
        json.loads(file.read_text())
    if (journal := folder / "metrics.jsonl").exists():
        epochs = [json.loads(line)["epoch"] for line in journal.read_text().splitlines()]
        assert epochs == list(range(1, len(epochs) + 1))
    for picture in folder.glob("*.png"):
        assert picture.read_bytes().endswith(b"IEND\xaeB`\x82")


@pytest.mark.long
def test_a_killed_training_goes_on_from_what_is_whole(
    killer: Any, tiny_fer2013: Path, tmp_path: Path
) -> None:
    """Killed again and again, and started again each time, it comes to its end."""
    epochs, kills = (6, KILLS) if KILLS else (2, 2)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        'model = "mobilenetv3_small_050"\n'
        f"epochs = {epochs}\nbatch_size = 8\nwarmup_epochs = 1\nbatch_norm_crops = 16\n"
    )
    words = ["--recipe", recipe, "--data", tiny_fer2013, "--seed", 3]
    seconds = killer.run(fer_train, [*words, "--out", tmp_path / "whole"]) if KILLS else 4.0
    left, number = kills, 0
    while left > 0:
        out = tmp_path / f"run{number}"
        while left > 0:
            cut = killer.kill(fer_train, [*words, "--out", out], seconds)
            left -= 1
            _check_run(out)
            if not cut:
                break
        number += 1
    killer.run(fer_train, [*words, "--out", out])
    _check_run(out)
    assert json.loads((out / "report.json").read_text())
    last = (out / "metrics.jsonl").read_text().splitlines()[-1]
    assert json.loads(last)["epoch"] == epochs
