"""The oldest dependencies that pyproject.toml allows are tried, not guessed.

A lower bound is an exact release here (``numpy>=1.24.2``), and that very release is installed: of
what the runtime needs, for each Python that a marker names, and of all extras beside it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tomllib
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

TESTED = {
    "runtime": ("tests/fer_edge",),
    "tools": ("tests/fer_edge", "tests/fer_calib", "tests/fer_export", "tests/fer_train"),
}
NEEDED = {"runtime": ("pytest>=8.2",), "tools": ("pytest>=8.2", "cuda-python>=12.8")}
"""By the tests themselves; the double of TensorRT stands on cuda-python."""

IMPORTED = {
    "runtime": "onnx, fer_edge.backends.openvino",
    "tools": "onnxscript, fer_edge.backends.openvino, fer_edge.backends.torch",
}
"""Without these much would be skipped."""

SMALL = frozenset({"openvino", "onnx"})
"""What the runtime's tests need of the extras and is small; torch takes gigabytes."""

NOT_INSTALLED = ("all", "dev", "tensorrt")
"""Extras that name other extras, or are for us, or have nothing to run on without a GPU."""

NEWEST_PYTHON = {"runtime": (3, 13), "tools": (3, 11)}
"""The last one that the bounds have wheels for."""


def lowest(root: Path, *, everything: bool = False) -> list[str]:
    """Dependencies at their lower bounds, with the markers that choose among them: the runtime's,
    and those of the extras that are SMALL, or of ``everything``.
    """
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    wanted = [Requirement(line) for line in project["dependencies"]]
    for extra, lines in project["optional-dependencies"].items():
        if extra not in NOT_INSTALLED:
            more = (Requirement(line) for line in lines if not line.startswith("fer-edge["))
            wanted += [one for one in more if everything or one.name in SMALL]
    for one in wanted:
        (bound,) = (part.version for part in one.specifier if part.operator == ">=")
        one.specifier = SpecifierSet(f"=={bound}")
    return sorted({str(one) for one in wanted})


def run(*command: object, folder: Path) -> str:
    """Run a command in ``folder``, without this environment's own paths."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def version_of(python: str) -> tuple[int, int]:
    """Major and minor number of an interpreter."""
    asked = "import sys; print(*sys.version_info[:2])"
    major, minor = run(python, "-c", asked, folder=Path.cwd()).split()
    return int(major), int(minor)


@pytest.mark.parametrize("minor", range(10, 14))
def test_every_dependency_has_one_lower_bound_on_every_python(root: Path, minor: int) -> None:
    python = {"python_version": f"3.{minor}"}

    def chosen(wanted: list[str]) -> list[str]:
        parsed = (Requirement(line) for line in wanted)
        return sorted(r.name for r in parsed if r.marker is None or r.marker.evaluate(python))

    runtime, tools = chosen(lowest(root)), chosen(lowest(root, everything=True))
    assert runtime == ["numpy", "onnx", "onnxruntime", "opencv-python-headless", "openvino"]
    assert {*runtime, "torch", "timm", "onnxscript", "tensorboard"} <= set(tools)
    assert len(set(tools)) == len(tools)


def environment(kind: str, source: Path, folder: Path) -> Path:
    """Install a copy of the source beside the oldest dependencies; gives the interpreter."""
    interpreter = os.environ.get("FER_LOWEST_PYTHON", sys.executable)
    if version_of(interpreter) > NEWEST_PYTHON[kind]:
        pytest.skip("NOTHING WAS TRIED: no wheels for this Python; set FER_LOWEST_PYTHON")
    run(interpreter, "-m", "venv", folder / "venv", folder=folder)
    python = folder / "venv" / "bin" / "python"
    wanted = lowest(source, everything=kind == "tools")
    pip = (python, "-m", "pip", "install", "-q", "--disable-pip-version-check")
    run(*pip, *wanted, *NEEDED[kind], source, folder=folder)
    return python


@pytest.mark.long
@pytest.mark.parametrize("kind", ["runtime", "tools"])
def test_the_tests_pass_with_the_oldest_dependencies(root: Path, tmp_path: Path, kind: str) -> None:
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns(".*", "*.egg-info", "build", "runs", "dist", "__pycache__")
    shutil.copytree(root, source, ignore=ignored)
    python = environment(kind, source, tmp_path)
    run(python, "-c", f"import {IMPORTED[kind]}", folder=tmp_path)
    printed = run(python, "-m", "pytest", "-q", *TESTED[kind], folder=source)
    assert re.search(r"\d{3,} passed", printed)
