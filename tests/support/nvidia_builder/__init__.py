"""NVIDIA's real ONNX parser and builder, on a machine without a GPU, in a folder that git ignores.

TensorRT for RTX has the parser and the builder of TensorRT and comes from PyPI; ``shim.c`` lets the
Python bindings of TensorRT 11.4 load it. It parses and builds; loading, inspecting and running a
plan needs a GPU. Both wheels are NVIDIA's, under its licence: nothing of them, and no plan that
they build, goes into the repository or a release.

``python -m nvidia_builder FOLDER COMMAND...`` sets it up and runs a command under it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

__all__ = ["VARIABLE", "UnavailableError", "environment", "set_up"]

VARIABLE = "FER_EDGE_NVIDIA"
"""Set where a process runs under the real builder: the folder that it is in."""

_WHEELS = ("tensorrt-cu13-bindings==11.4.0.106", "onnxruntime-ep-nv-tensorrt-rtx-cu13==0.5.0")
_PACKAGE = "onnxruntime_ep_nv_tensorrt_rtx"
_LIBRARIES = ("libtensorrt_rtx", "libtensorrt_onnxparser_rtx")
_SHIMS = {"INFER": "libnvinfer", "PLUGIN": "libnvinfer_plugin", "PARSER": "libnvonnxparser"}
_SECONDS = 900


class UnavailableError(Exception):
    """The builder cannot be had here; the message says why."""


def set_up(folder: Path) -> None:
    """Fetch the wheels into ``folder`` and compile the shim, once. Raises UnavailableError."""
    if folder.is_dir():
        return
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        raise UnavailableError("NVIDIA's wheels are for Linux on x86_64")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".nvidia-") as scratch:
        made = Path(scratch) / "made"
        _fetch(Path(scratch) / "wheels", made / "site")
        _compile(made)
        made.rename(folder)


def environment(folder: Path) -> dict[str, str]:
    """This process's environment, with the builder in it."""
    places = {"LD_LIBRARY_PATH": str(folder / "lib"), "PYTHONPATH": str(folder / "site")}
    joined = {
        name: os.pathsep.join(filter(None, [place, os.environ.get(name)]))
        for name, place in places.items()
    }
    return {**os.environ, **joined, VARIABLE: str(folder)}


def _fetch(wheels: Path, site: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--dest", str(wheels), *_WHEELS]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as problem:
        raise UnavailableError("pip took too long to fetch NVIDIA's wheels") from problem
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise UnavailableError(f"pip cannot fetch {' and '.join(_WHEELS)}: {last[0]}")
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)


def _compile(made: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise UnavailableError("no C compiler for the shim")
    library = made / "lib"
    library.mkdir()
    for name in _LIBRARIES:
        (real,) = (made / "site" / _PACKAGE).glob(f"{name}.so.1.*")
        (library / f"{name}.so.1").symlink_to(Path("..", "site", _PACKAGE, real.name))
    for define, name in _SHIMS.items():
        command = [compiler, "-shared", "-fPIC", "-O2", f"-D{define}"]
        command += ["-o", str(library / f"{name}.so.11")]
        source = Path(__file__).with_name("shim.c")
        subprocess.run([*command, str(source), "-ldl"], check=True, timeout=_SECONDS)
