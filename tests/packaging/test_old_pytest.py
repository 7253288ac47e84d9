"""The plugin is loaded wherever fer-edge is installed: an old pytest of a device has to bear it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

OLD = ("pytest==6.2.5", "pluggy==0.13.1")
"""What Ubuntu 22.04 has, on which JetPack 6 stands."""

NEWEST_PYTHON = (3, 11)
"""The last one that this pytest runs on."""

PLUGIN = "fer_bench.regression.plugin"


@pytest.mark.long
def test_the_suite_runs_in_an_old_pytest(root: Path, tmp_path: Path) -> None:
    if sys.version_info[:2] > NEWEST_PYTHON:
        pytest.skip("pytest 6.2 does not run on this Python")
    old, team = tmp_path / "old", tmp_path / "team"
    pip = (sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check")
    online = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([*pip, "--target", str(old), *OLD], check=True, env=online)
    team.mkdir()
    (team / "test_theirs.py").write_text("def test_theirs():\n    pass\n")
    baseline = root / "tests" / "fer_bench" / "regression" / "default.json"
    shutil.copy(baseline, team)

    def run(*arguments: str) -> str:
        sources = [old, *(root / name for name in ("", "train", "calib", "export", "benchmarks"))]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", PLUGIN, *arguments],
            cwd=team,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(map(str, sources)),
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # plugins of today's pytest
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "1 passed" in run()
    chosen = ("--fer-backend=onnxruntime", "-k", "theirs or intact or recorded")
    told = run("--fer-model=default", "--fer-baseline=default.json", *chosen)
    assert "pytest-6.2.5" in told
    assert "7 passed" in told
