"""The oldest dependencies that pyproject.toml allows are tried, not guessed.

A lower bound is an exact release here (``numpy>=1.24.2``), and that very release is installed.
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

# what the tests of the runtime themselves need
TOOLS = ("pytest>=8.2", "onnx>=1.17,<1.18")

NEWEST_PYTHON = (3, 11)
"""The last one that the oldest releases have wheels for."""


def lowest(root: Path) -> list[str]:
    """The dependencies of the runtime, each at its lower bound."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    bounds = (re.match(r"([\w-]+)>=([\w.]+)", line) for line in project["dependencies"])
    return [f"{bound[1]}=={bound[2]}" for bound in bounds if bound]


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


def test_every_dependency_of_the_runtime_has_a_lower_bound(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert len(lowest(root)) == len(project["dependencies"])


@pytest.mark.long
def test_the_runtime_passes_its_tests_with_the_oldest_dependencies(
    root: Path, tmp_path: Path
) -> None:
    ignored = shutil.ignore_patterns(".*", "*.egg-info", "build", "runs", "dist", "__pycache__")
    shutil.copytree(root, tmp_path / "source", ignore=ignored)
    python = tmp_path / "venv" / "bin" / "python"
    interpreter = os.environ.get("FER_LOWEST_PYTHON")
    if interpreter is None and sys.version_info[:2] > NEWEST_PYTHON:
        pytest.skip("the oldest releases have no wheels for this Python; set FER_LOWEST_PYTHON")
    run(interpreter or sys.executable, "-m", "venv", tmp_path / "venv", folder=tmp_path)
    pip = (python, "-m", "pip", "install", "-q", "--disable-pip-version-check")
    run(*pip, *lowest(root), *TOOLS, tmp_path / "source", folder=tmp_path)
    for name in ("tests/fer_edge", "tests/support"):
        if (root / name).exists():
            shutil.copytree(root / name, tmp_path / name)
    shutil.copy(root / "tests" / "conftest.py", tmp_path / "tests")
    shutil.copy(root / "pyproject.toml", tmp_path)
    printed = run(python, "-m", "pytest", "-q", "tests/fer_edge", folder=tmp_path)
    assert re.search(r"\d{3,} passed", printed)
