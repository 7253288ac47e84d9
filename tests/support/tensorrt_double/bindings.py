"""The real TensorRT bindings, of either end of what is supported, on a machine without a GPU.

``make bindings`` fetches them into ``CACHE``; tests read that folder and fetch nothing.

NVIDIA's wheels of bindings install anywhere, but import only beside three libraries of TensorRT.
All that the import needs of them is nine C symbols; here a C compiler makes libraries that have
these and nothing else. So every class, enum and signature is the true one, and nothing runs.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

CACHE = Path(__file__).parents[3] / ".pytest_cache" / "d" / "tensorrt"

VARIABLE = "FER_EDGE_TENSORRT_BINDINGS"
"""Chooses the version that a test run stands on; one process can load one only."""

_LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
_SOURCE = """
void *createInferBuilder_INTERNAL(void *logger, int version) { return 0; }
void *createInferRefitter_INTERNAL(void *engine, void *logger, int version) { return 0; }
void *createInferRuntime_INTERNAL(void *logger, int version) { return 0; }
void *createNvOnnxParserRefitter_INTERNAL(void *refitter, void *logger, int version) { return 0; }
void *createNvOnnxParser_INTERNAL(void *network, void *logger, int version) { return 0; }
void *getBuilderPluginRegistry(int capability) { return 0; }
void *getPluginRegistry(void) { return 0; }
int getNvOnnxParserVersion(void) { return 0; }
int initLibNvInferPlugins(void *logger, const char *name_space) { return 1; }
"""
_SECONDS = 300


class UnavailableError(Exception):
    """The bindings cannot be had here; the message says why."""


@dataclass(frozen=True)
class Release:
    distribution: str
    version: str
    library_suffix: str


RELEASES = {
    "10.3": Release("tensorrt-cu12-bindings", "10.3.0", "10"),
    "11.4": Release("tensorrt-cu13-bindings", "11.4.0.106", "11"),
}
"""The oldest and the newest release that is supported."""


def chosen() -> str:
    """The release that this process stands on."""
    return os.environ.get(VARIABLE, "11.4")


def find(release: str, cache: Path) -> Path:
    """The folder with a release's bindings and libraries. Raises UnavailableError."""
    folder = _folder(RELEASES[release], cache)
    if not folder.is_dir():
        raise UnavailableError("they were not fetched; make bindings does it")
    return folder


def fetch(release: str, cache: Path) -> None:
    """Download a release's bindings into ``cache``, once. Raises UnavailableError."""
    wanted = RELEASES[release]
    target = _folder(wanted, cache)
    if target.is_dir():
        return
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        folder = Path(scratch) / "made"
        _unpack(_download(wanted, Path(scratch)), folder)
        _compile(wanted, folder)
        try:
            folder.rename(target)
        except OSError:  # another process was faster
            if not target.is_dir():
                raise


def load(release: str, cache: Path) -> ModuleType:
    """Import a release's bindings into this process. Raises UnavailableError."""
    folder = find(release, cache)
    suffix = RELEASES[release].library_suffix
    for name in _LIBRARIES:
        ctypes.CDLL(str(folder / f"lib{name}.so.{suffix}"), ctypes.RTLD_GLOBAL)
    sys.path.insert(0, str(folder))
    try:
        module = importlib.import_module("tensorrt_bindings")
    finally:
        sys.path.remove(str(folder))
    if module.__version__ != RELEASES[release].version:
        raise RuntimeError(f"TensorRT {module.__version__} is loaded already, not {release}")
    return module


def main() -> None:
    """Fetch every release; where one cannot be had, say so, as its tests are skipped then."""
    for release in RELEASES:
        try:
            fetch(release, CACHE)
        except UnavailableError as problem:
            print(f"no bindings of TensorRT {release}, so tests of it will be skipped: {problem}")


def _folder(wanted: Release, cache: Path) -> Path:
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return cache / f"{wanted.version}-python{python}"


def _download(wanted: Release, folder: Path) -> Path:
    name = f"{wanted.distribution}=={wanted.version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--dest", str(folder), name]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as problem:
        raise UnavailableError(f"pip took too long to fetch {name}") from problem
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        last = done.stderr.strip().splitlines()[-1:] or ["no wheel came"]
        raise UnavailableError(f"pip cannot fetch {name}: {last[0]}")
    return wheels[0]


def _unpack(wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)


def _compile(wanted: Release, folder: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise UnavailableError("no C compiler to make the libraries that the bindings ask for")
    source = folder / "symbols.c"
    source.write_text(_SOURCE)
    for name in _LIBRARIES:
        library = f"lib{name}.so.{wanted.library_suffix}"
        subprocess.run(
            [compiler, "-shared", "-fPIC", f"-Wl,-soname,{library}", "-o", library, source.name],
            cwd=folder,
            check=True,
            timeout=_SECONDS,
        )


if __name__ == "__main__":
    main()
