"""A disk that is full, read-only or gone, and no place for the user's own files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fer_calib.cli import main as fer_calib
from fer_edge import ArtifactError, ConfigurationError, FaceDetector, FerEdgeError, Predictor
from fer_edge.artifacts.artifact import FORMATS
from fer_edge.artifacts.manifest import Manifest
from fer_edge.artifacts.plan import is_trusted
from fer_edge.backends import BACKENDS, backend_class
from fer_edge.cli import main as fer_edge
from fer_edge.images.synthetic import synthetic_crops
from fer_edge.system.folders import data_folder


def _is_one_clear_error(done: Any, *reasons: str) -> None:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("fer-")]
    assert len(errors) == 1, done.stderr
    assert any(reason in errors[0] for reason in reasons), done.stderr


FULL = ("No space left", "File too large")


def test_a_calibration_on_a_full_disk_is_one_error_and_keeps_the_old_set(
    run: Any, tiny_fer2013: Path, small_disk: Path
) -> None:
    out = small_disk / "calib.npz"
    out.write_bytes(b"the old set")
    (small_disk / "filler").write_bytes(bytes(48 << 10))
    done = run("fer_calib.cli", "--data", tiny_fer2013, "--out", out, "--count", 28)
    _is_one_clear_error(done, *FULL)
    assert out.read_bytes() == b"the old set"
    assert {path.name for path in small_disk.iterdir()} == {"calib.npz", "filler"}


def test_a_file_that_may_not_grow_is_one_error_and_keeps_the_old_set(
    run: Any, tiny_fer2013: Path, tmp_path: Path
) -> None:
    out = tmp_path / "calib.npz"
    out.write_bytes(b"the old set")
    words = ("--data", tiny_fer2013, "--out", out, "--count", 28)
    _is_one_clear_error(run("fer_calib.cli", *words, limit=4096), *FULL)
    assert out.read_bytes() == b"the old set"
    assert [path.name for path in tmp_path.iterdir()] == ["calib.npz"]


def test_an_export_on_a_full_disk_is_one_error_and_keeps_the_old_model(
    run: Any, make_weights: Callable[[int], Path], small_disk: Path
) -> None:
    old = small_disk / "dist"
    old.mkdir()
    Manifest("old", "fp32", ()).write(old)
    before = (old / "manifest.json").read_bytes()
    done = run("fer_export.cli", "--weights", make_weights(0), "--out", old, "--force")
    _is_one_clear_error(done, *FULL)
    assert (old / "manifest.json").read_bytes() == before
    assert [path.name for path in small_disk.iterdir()] == ["dist"]


def test_a_training_on_a_full_disk_is_one_error(
    run: Any, tiny_fer2013: Path, tmp_path: Path
) -> None:
    words = ("--data", tiny_fer2013, "--model", "mobilenetv3_small_050", "--epochs", 1)
    done = run("fer_train.cli", *words, "--out", tmp_path / "run", limit=100_000)
    _is_one_clear_error(done, *FULL)
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_result_on_a_read_only_disk_is_one_error(
    tiny_fer2013: Path, read_only_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data", str(tiny_fer2013), "--out", str(read_only_disk / "c.npz"), "--count", "14"]
    assert fer_calib(words) == 2
    assert "Read-only file system" in capsys.readouterr().err


def test_a_model_on_a_read_only_disk_runs(tiny_artifact: Path, tmp_path: Path) -> None:
    """Nothing is written beside it."""
    folder = tmp_path / "model"
    folder.mkdir()
    shutil.copy(tiny_artifact, folder / "model.onnx")
    folder.chmod(0o555)
    before = sorted(folder.iterdir())
    with Predictor(folder / "model.onnx", backend="onnxruntime") as fer:
        fer.predict(np.zeros((48, 48), np.uint8))
    assert sorted(folder.iterdir()) == before


def test_a_model_that_was_taken_away_is_one_error_and_an_open_one_runs_on(
    tiny_artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As when a stick is pulled out: bytes that were read do not need it any more."""
    path = Path(shutil.copy(tiny_artifact, tmp_path / "model.onnx"))
    cv2.imwrite(str(tmp_path / "face.png"), synthetic_crops(1)[0])
    with Predictor(path, backend="onnxruntime") as fer:
        path.unlink()
        assert fer.predict(np.zeros((48, 48), np.uint8)).confidence > 0
    words = ["predict", str(tmp_path / "face.png"), "--crop", "--model", str(path)]
    assert fer_edge(words) == 2
    assert "there is no model at" in capsys.readouterr().err


def test_pictures_that_vanish_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fer_edge(["predict", "--crop", str(tmp_path / "gone" / "face.png")]) == 2
    assert "there is no picture at" in capsys.readouterr().err


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without a home folder, as services and containers have it."""

    def unknown(_: int) -> Any:
        raise KeyError("getpwuid(): uid not found")

    for name in ("HOME", "FER_EDGE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)


@pytest.fixture(params=["/proc/fer_edge", "/dev/null/fer_edge"])
def no_cache(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder for the user's files that cannot be made, not even by root."""
    monkeypatch.setenv("FER_EDGE_HOME", request.param)
    monkeypatch.setenv("XDG_CACHE_HOME", request.param)


def _opens_with_every_backend() -> None:
    from fer_edge.artifacts.model import model_path

    tried = 0
    folder = model_path("default")
    for entry in Manifest.read(folder).artifacts:
        for name, backend in BACKENDS.items():
            if FORMATS.get(Path(entry.file).suffix) not in backend.formats:
                continue
            if entry.backends and name not in entry.backends:
                continue
            try:
                backend_class(name)
            except FerEdgeError:
                continue
            with Predictor(folder / entry.file, backend=name) as fer:
                assert fer.predict(synthetic_crops(1)[0]).confidence > 0
            tried += 1
    assert tried


@pytest.mark.usefixtures("homeless")
def test_without_a_home_every_backend_runs() -> None:
    with pytest.raises(ConfigurationError, match="no home folder"):
        data_folder()
    _opens_with_every_backend()


@pytest.mark.usefixtures("homeless")
def test_without_a_home_no_plan_is_trusted() -> None:
    assert not is_trusted("0" * 64)


@pytest.mark.usefixtures("no_cache")
def test_without_a_place_for_a_cache_every_backend_runs() -> None:
    _opens_with_every_backend()


@contextmanager
def without_rights(folder: Path) -> Iterator[None]:
    """A folder that the process may not look into; root becomes nobody for that."""
    folder.mkdir()
    folder.chmod(0)
    becomes = os.geteuid() == 0
    if becomes:
        os.seteuid(65534)
    try:
        yield
    finally:
        if becomes:
            os.seteuid(0)
        folder.chmod(0o700)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="this system has no users of Unix")
def test_a_folder_of_ours_that_may_not_be_looked_into_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FER_EDGE_HOME", str(tmp_path / "ours"))
    with without_rights(tmp_path / "ours"):
        assert FaceDetector().name == "yunet"
        assert not is_trusted("0" * 64)
        with pytest.raises(ArtifactError, match="or none that you may see"):
            Predictor(tmp_path / "ours" / "model.onnx")


@pytest.mark.parametrize("name", ["m" * 5000, "m" * 5000 + ".onnx"])
def test_a_name_that_no_file_can_have_is_no_model(name: str) -> None:
    with pytest.raises(ArtifactError, match="there is no model at"):
        Predictor(name)


@pytest.mark.usefixtures("homeless")
def test_without_a_home_the_commands_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(tmp_path / "face.png"), synthetic_crops(1)[0])
    assert fer_edge(["predict", "--crop", str(tmp_path / "face.png")]) == 0
    assert fer_edge(["doctor"]) == 0
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.usefixtures("no_cache")
def test_without_a_place_for_a_cache_the_commands_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(tmp_path / "face.png"), synthetic_crops(1)[0])
    assert fer_edge(["predict", "--crop", str(tmp_path / "face.png")]) == 0
    assert fer_edge(["doctor"]) == 0
    assert "Traceback" not in capsys.readouterr().err


def test_a_json_result_on_a_full_disk_is_one_error(
    run: Any, tmp_path: Path, small_disk: Path
) -> None:
    cv2.imwrite(str(tmp_path / "face.png"), synthetic_crops(1)[0])
    with pytest.raises(OSError, match="No space left"):
        (small_disk / "filler").write_bytes(bytes(128 << 10))
    words = ("predict", "--crop", tmp_path / "face.png", "--json", small_disk / "out.json")
    _is_one_clear_error(run("fer_edge.cli", *words), *FULL)
    assert not (small_disk / "out.json").exists()
    assert not [name for name in os.listdir(small_disk) if name.startswith(".")]
