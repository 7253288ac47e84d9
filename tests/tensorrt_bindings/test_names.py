"""Every name of TensorRT that our code writes stands in the oldest and the newest bindings, and
all that is tested on the newest holds on the oldest too.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tensorrt_double import bindings

Release = tuple[str, Path]

SOURCES = (
    "fer_edge/backends/tensorrt.py",
    "export/fer_export/tensorrt/builder.py",
    "export/fer_export/tensorrt/monitor.py",
)
TESTS = (
    "tests/fer_edge/backends/test_tensorrt.py",
    "tests/fer_edge/backends/test_tensorrt_refusals.py",
    *(f"tests/fer_export/tensorrt/test_{name}.py" for name in ("building", "monitor", "options")),
    "tests/fer_export/tensorrt/test_timing_cache.py",
)


def names_used(source: str) -> set[str]:
    """What stands behind ``trt.``, as far as it is dotted."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        parts, inner = [], node
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            inner = inner.value
        if parts and isinstance(inner, ast.Name) and inner.id == "trt":
            found.add(".".join(reversed(parts)))
    return found


def missing(release: Release, names: set[str]) -> list[str]:
    """Those of the names that a release lacks, looked up in a process of its own."""
    code = (
        "import functools, json, sys\n"
        "import tensorrt_bindings as trt\n"
        "def there(name):\n"
        "    try:\n"
        "        return functools.reduce(getattr, name.split('.'), trt) is not None\n"
        "    except AttributeError:\n"
        "        return False\n"
        "names = json.loads(sys.argv[1])\n"
        "print(json.dumps([trt.__version__, [name for name in names if not there(name)]]))\n"
    )
    name, folder = release
    places = {"LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(sorted(names))],
        env={**os.environ, **places},
        capture_output=True,
        text=True,
        check=True,
    )
    version, lacking = json.loads(done.stdout)
    assert version == bindings.RELEASES[name].version
    return list(lacking)


def test_all_that_import_tensorrt_are_looked_at(root: Path) -> None:
    importing = {
        file.relative_to(root).as_posix()
        for folder in ("fer_edge", "export", "train", "calib", "benchmarks")
        for file in (root / folder).rglob("*.py")
        if "import tensorrt as trt" in file.read_text(encoding="utf-8")
    }
    assert importing == {*SOURCES}


def test_every_name_that_we_use_is_there(root: Path, release: Release) -> None:
    names = {name for file in SOURCES for name in names_used((root / file).read_text())}
    assert len(names) > 15
    assert missing(release, names) == []


@pytest.mark.parametrize(
    ("name", "lacking_in"),
    [
        ("BuilderFlag.FP16", {"11.4"}),
        ("IInt8EntropyCalibrator2", {"11.4"}),
        ("NetworkDefinitionCreationFlag.EXPLICIT_BATCH", {"11.4"}),
        ("HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY", {"10.3"}),
        ("BuilderFlag.HALF", {"10.3", "11.4"}),
    ],
)
def test_a_name_that_a_release_lacks_is_caught(
    release: Release, name: str, lacking_in: set[str]
) -> None:
    used = names_used(f"flag = trt.{name}\n")
    assert missing(release, used) == ([name] if release[0] in lacking_in else [])


@pytest.mark.long
def test_what_holds_on_the_newest_release_holds_on_the_oldest(
    root: Path, bindings_cache: Path
) -> None:
    (oldest,) = bindings.RELEASES.keys() - {bindings.chosen()}
    try:
        bindings.find(oldest, bindings_cache)
    except bindings.UnavailableError as problem:
        pytest.skip(f"no bindings of TensorRT {oldest}: {problem}")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "--no-header", *TESTS],
        cwd=root,
        env={**os.environ, bindings.VARIABLE: oldest},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "no TensorRT bindings" not in done.stdout
