"""The oldest dependencies that pyproject.toml allows are tried, not guessed.

A lower bound is an exact release here (``numpy>=1.24.2``), which has a wheel for the Python that
its marker names, and that very release is installed.
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

# what the tests of the runtime themselves need
TOOLS = ("pytest>=8.2",)

OF_THE_EXTRAS = {"openvino", "onnx"}
"""What the runtime's tests need of the extras and is small; torch and NNCF would take gigabytes."""

NEWEST_PYTHON = (3, 13)
"""The last one that the bounds have wheels for."""

REQUIREMENT = re.compile(r"([\w-]+)>=([\w.]+)[^;]*(;.*)?")


def lowest(root: Path) -> list[str]:
    """Dependencies at their lower bounds, with the markers that choose among them: the runtime's,
    and OF_THE_EXTRAS.
    """
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    bounds = [REQUIREMENT.fullmatch(line) for line in project["dependencies"]]
    extras = (line for lines in project["optional-dependencies"].values() for line in lines)
    found = (REQUIREMENT.fullmatch(line) for line in extras)
    bounds += [bound for bound in found if bound and bound[1] in OF_THE_EXTRAS]
    assert all(bounds), "a dependency of the runtime has no lower bound"
    return sorted({f"{bound[1]}=={bound[2]}{bound[3] or ''}" for bound in bounds if bound})


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


@pytest.mark.parametrize("minor", range(10, NEWEST_PYTHON[1] + 1))
def test_every_dependency_has_one_lower_bound_on_every_python(root: Path, minor: int) -> None:
    wanted = [Requirement(line) for line in lowest(root)]
    python = {"python_version": f"3.{minor}"}
    chosen = sorted(r.name for r in wanted if r.marker is None or r.marker.evaluate(python))
    assert chosen == ["numpy", "onnx", "onnxruntime", "opencv-python-headless", "openvino"]


@pytest.mark.long
def test_the_runtime_passes_its_tests_with_the_oldest_dependencies(
    root: Path, tmp_path: Path
) -> None:
    ignored = shutil.ignore_patterns(".*", "*.egg-info", "build", "runs", "dist", "__pycache__")
    shutil.copytree(root, tmp_path / "source", ignore=ignored)
    python = tmp_path / "venv" / "bin" / "python"
    interpreter = os.environ.get("FER_LOWEST_PYTHON", sys.executable)
    if version_of(interpreter) > NEWEST_PYTHON:
        pytest.skip("NOTHING WAS TRIED: no wheels for this Python; set FER_LOWEST_PYTHON")
    run(interpreter, "-m", "venv", tmp_path / "venv", folder=tmp_path)
    pip = (python, "-m", "pip", "install", "-q", "--disable-pip-version-check")
    run(*pip, *lowest(root), *TOOLS, tmp_path / "source", folder=tmp_path)
    for name in ("tests/fer_edge", "tests/support"):
        if (root / name).exists():
            shutil.copytree(root / name, tmp_path / name)
    shutil.copy(root / "tests" / "conftest.py", tmp_path / "tests")
    shutil.copy(root / "pyproject.toml", tmp_path)
    run(python, "-c", "import onnx, fer_edge.backends.openvino", folder=tmp_path)  # not skipped
    printed = run(python, "-m", "pytest", "-q", "tests/fer_edge", folder=tmp_path)
    assert re.search(r"\d{3,} passed", printed)
