"""The wheel: what it holds, and that it works where nothing else is installed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

OURS = {"fer_edge", "fer_train", "fer_calib", "fer_export", "fer_bench"}
DEPENDENCIES = {"numpy", "opencv-python-headless", "onnxruntime"}


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a command away from the sources and return what it printed; its failure is ours."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the sources, so that nothing is left in them."""
    folder = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns(".*", "*.egg-info", "build", "runs", "dist", "__pycache__")
    shutil.copytree(root, folder / "source", ignore=ignored)
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, folder / "source")
    return next(folder.glob("fer_edge-*.whl"))


def make_environment(python: Path | str, folder: Path, *packages: str | Path) -> Path:
    """A fresh virtual environment with some packages; returns its Python."""
    run(python, "-m", "venv", "--without-pip", folder)
    inside = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", inside, "--disable-pip-version-check")
    run(*pip, "install", "-q", "--no-compile", *packages)
    return inside


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Python of an environment in which only the wheel was installed."""
    folder = tmp_path_factory.mktemp("bare")
    yield make_environment(sys.executable, folder / "venv", wheel)
    shutil.rmtree(folder)


def test_the_wheel_holds_exactly_the_five_packages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
        names = set(archive.namelist())
    assert {top for top in tops if not top.endswith(".dist-info")} == OURS
    assert {f"{package}/py.typed" for package in OURS} <= names
    assert "fer_edge/models/default/manifest.json" in names
    assert "fer_edge/faces/models/face_detection_yunet_2026may.onnx" in names
    assert "fer_edge/faces/models/LICENSE.yunet" in names
    assert "fer_edge/models/default/model.onnx" in names


def test_the_wheel_stays_below_40_mb(wheel: Path) -> None:
    assert wheel.stat().st_size < 40_000_000


def test_the_wheel_alone_writes_the_page(bare: Path, root: Path, tmp_path: Path) -> None:
    run(bare.with_name("fer-edge"), "page", "--out", tmp_path / "page")
    static = root / "fer_edge" / "page" / "static"
    loaded = {".js", ".mjs", ".html", ".css", ".svg", ".wasm"}
    written = {
        file.relative_to(tmp_path / "page").as_posix()
        for file in (tmp_path / "page").rglob("*")
        if file.suffix in loaded
    }
    there = {
        file.relative_to(static).as_posix().removesuffix(".gz")
        for file in static.rglob("*")
        if file.is_file()
    }
    assert written == {name for name in there if Path(name).suffix in loaded}


def test_the_wheel_holds_every_module_of_the_sources(wheel: Path, root: Path) -> None:
    roots = {"fer_edge": ".", "fer_train": "train", "fer_calib": "calib"}
    roots |= {"fer_export": "export", "fer_bench": "benchmarks"}
    modules = {
        file.relative_to(root / folder).as_posix()
        for package, folder in roots.items()
        for file in (root / folder / package).rglob("*.py")
    }
    with zipfile.ZipFile(wheel) as archive:
        assert {n for n in archive.namelist() if n.endswith(".py")} == modules


def test_a_bare_installation_brings_the_three_dependencies_and_no_more(bare: Path) -> None:
    code = (
        "import importlib.metadata as m, re, json\n"
        "needed = [r for r in m.requires('fer-edge') if 'extra' not in r]\n"
        "direct = {re.match(r'[\\w-]+', r)[0] for r in needed}\n"
        "print(json.dumps([sorted(direct), sorted(d.name.lower() for d in m.distributions())]))"
    )
    direct, installed = json.loads(run(bare, "-c", code))
    assert set(direct) == DEPENDENCIES
    heavy = {"torch", "timm", "openvino", "tensorrt", "onnx", "matplotlib", "tensorflow"}
    assert not heavy & set(installed)


def test_a_bare_installation_predicts(bare: Path, tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    code = (
        "import cv2\n"
        "from fer_edge.images.synthetic import synthetic_crops\n"
        "cv2.imwrite('crop.png', synthetic_crops(1)[0])"
    )
    run(bare, "-c", code, cwd=tmp_path)
    run(bare.parent / "fer-edge", "predict", "--crop", "crop.png", "--json", result, cwd=tmp_path)
    (entry,) = json.loads(result.read_text())["results"]
    (face,) = entry["faces"]
    assert sum(face["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert run(bare.parent / "fer-edge", "doctor", cwd=tmp_path)


@pytest.mark.parametrize("command", ["fer-train", "fer-export"])
def test_a_bare_installation_says_what_a_tool_needs(
    bare: Path, tmp_path: Path, command: str
) -> None:
    first = {"fer-train": ["--data", "x.zip"], "fer-export": ["--weights", "x.safetensors"]}
    done = subprocess.run(
        [bare.parent / command, *first[command], "--out", tmp_path / "out"],
        capture_output=True,
        text=True,
        check=False,
    )
    extra = command.removeprefix("fer-")
    assert done.returncode == 3
    assert re.search(rf"\w+ is not installed.*pip install 'fer-edge\[{extra}\]'", done.stderr)
    assert "Traceback" not in done.stderr


def python_3_10() -> str | None:
    """A Python 3.10 that really starts, on the path or from pyenv."""
    folders = [*os.environ.get("PATH", "").split(os.pathsep)]
    folders += [str(p / "bin") for p in sorted(Path.home().glob(".pyenv/versions/3.10.*"))]
    for folder in folders:
        candidate = Path(folder) / "python3.10"
        if candidate.is_file():
            done = subprocess.run([candidate, "--version"], capture_output=True, check=False)
            if done.returncode == 0:
                return str(candidate)
    return None


@pytest.mark.skipif(python_3_10() is None, reason="no Python 3.10 here")
@pytest.mark.long
def test_the_runtime_passes_its_tests_under_python_3_10(
    wheel: Path, root: Path, tmp_path: Path
) -> None:
    inside = make_environment(
        python_3_10() or "", tmp_path / "venv", f"{wheel}", "pytest>=8.2", "onnx>=1.17"
    )
    for name in ("fer_edge", "support"):
        shutil.copytree(root / "tests" / name, tmp_path / "tests" / name)
    shutil.copy(root / "tests" / "conftest.py", tmp_path / "tests")
    shutil.copy(root / "pyproject.toml", tmp_path)
    printed = run(inside, "-m", "pytest", "-q", "tests/fer_edge", cwd=tmp_path)
    assert re.search(r"\d+ passed", printed)
    shutil.rmtree(tmp_path / "venv")
