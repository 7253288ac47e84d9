"""What is installed, which backends work, which devices are seen, and what to install."""

from __future__ import annotations

import importlib
import importlib.util
import platform
import shutil
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

from fer_edge.artifact import DEFAULT_MODEL, model_path
from fer_edge.backends import AUTO_ORDER, BACKENDS
from fer_edge.dependencies import EXTRAS
from fer_edge.errors import FerEdgeError
from fer_edge.faces.detection import FaceDetector
from fer_edge.manifest import Manifest
from fer_edge.predictor import Predictor

__all__ = ["Check", "Diagnosis", "diagnose"]

_CLASHES = (
    ("onnxruntime", "onnxruntime-gpu"),
    ("opencv-python", "opencv-python-headless"),
    ("opencv-python", "opencv-contrib-python"),
)
_GOLDEN_TOLERANCE = 1e-3
_SECONDS = 10


@dataclass(frozen=True)
class Check:
    """One finding: what was looked at, whether it is usable, and what there is or what to do."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Diagnosis:
    """All findings. ``works`` says whether the packaged model gives its golden answers here."""

    works: bool
    model: Check
    backends: tuple[Check, ...]
    auto_order: tuple[str, ...]
    faces: Check
    devices: tuple[Check, ...]
    extras: tuple[Check, ...]
    problems: tuple[str, ...]
    python: str
    system: str


def diagnose() -> Diagnosis:
    """Look at this machine; changes nothing and raises nothing of its own."""
    model = _check_model()
    return Diagnosis(
        works=model.ok,
        model=model,
        backends=tuple(_check_backend(name) for name in BACKENDS),
        auto_order=AUTO_ORDER,
        faces=_check_faces(),
        devices=(_cpu(), *_accelerators()),
        extras=tuple(_check_extra(extra) for extra in EXTRAS),
        problems=tuple(_clashes()),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        system=platform.platform(),
    )


def _check_model() -> Check:
    """Run the golden crops through the packaged model."""
    try:
        manifest = Manifest.read(model_path(DEFAULT_MODEL))
        with Predictor() as predictor:
            gaps = []
            for golden in manifest.golden:
                pixels, _ = golden.arrays()
                given = predictor.predict(pixels).probabilities
                gaps.append(float(np.abs(given - np.array(golden.probabilities)).max()))
            running = f"{predictor.info.precision} on {predictor.info.provider}"
    except FerEdgeError as problem:
        return Check(DEFAULT_MODEL, False, str(problem))
    largest = max(gaps, default=float("inf"))
    verdict = f"{running}: golden crops within {largest:.1e}, allowed {_GOLDEN_TOLERANCE:.0e}"
    return Check(DEFAULT_MODEL, largest <= _GOLDEN_TOLERANCE, verdict)


def _check_backend(name: str) -> Check:
    entry = BACKENDS[name]
    try:
        module = importlib.import_module(entry.package)
    except ModuleNotFoundError:
        return Check(name, False, f"not installed: pip install 'fer-edge[{entry.extra}]'")
    except ImportError as problem:
        return Check(name, False, f"installed, but does not import: {problem}")
    return Check(name, True, f"{entry.package} {module.__version__}")


def _check_faces() -> Check:
    try:
        return Check("faces", True, FaceDetector().name)
    except FerEdgeError as problem:
        return Check("faces", False, str(problem))


def _check_extra(extra: str) -> Check:
    missing = [name for name in EXTRAS[extra] if importlib.util.find_spec(name) is None]
    if not missing:
        return Check(extra, True, "installed")
    return Check(extra, False, f"lacks {', '.join(missing)}: pip install 'fer-edge[{extra}]'")


def _clashes() -> list[str]:
    installed = {(dist.metadata["Name"] or "").lower() for dist in metadata.distributions()}
    return [
        f"{first} and {second} are both installed and overwrite each other's files: "
        f"pip uninstall {first} {second}, then install the one that you need"
        for first, second in _CLASHES
        if first in installed and second in installed
    ]


def _cpu() -> Check:
    name, flags = platform.processor() or platform.machine(), set[str]()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = (part.strip() for part in line.partition(":"))
            if key == "model name":
                name = value
            if key in ("flags", "Features"):
                flags.update(value.split())
    except OSError:
        pass
    useful = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "asimddp")
    seen = [flag for flag in useful if flag in flags]
    return Check("cpu", True, f"{name} {platform.machine()}; {', '.join(seen) or 'no extensions'}")


def _accelerators() -> list[Check]:
    found = []
    board = Path("/proc/device-tree/model")
    if board.exists():
        found.append(Check("board", True, board.read_text(errors="replace").rstrip("\0\n")))
    if shutil.which("nvidia-smi"):
        found.append(_nvidia())
    for kind, pattern in (("gpu", "dri/renderD*"), ("npu", "accel/accel*")):
        found += [Check(kind, True, str(node)) for node in sorted(Path("/dev").glob(pattern))]
    return found


def _nvidia() -> Check:
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(  # noqa: S603 - a fixed command
            command, capture_output=True, text=True, timeout=_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as problem:
        return Check("nvidia", False, f"nvidia-smi fails: {problem}")
    return Check("nvidia", True, "; ".join(answer.stdout.strip().splitlines()))
