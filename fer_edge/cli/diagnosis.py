"""What is installed, which backends work, which devices there are, and what to install.

OpenCV or an engine may be broken, so nothing that needs them is imported at the top.
"""

from __future__ import annotations

import importlib
import math
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import numpy as np

from fer_edge.artifacts.model import DEFAULT_MODEL, Model
from fer_edge.backends import AUTO_ORDER, BACKENDS, backend_problem
from fer_edge.backends.choose_backend import choose_backend
from fer_edge.errors import EngineError, FerEdgeError, GateError
from fer_edge.system.dependencies import EXTRAS, missing_packages
from fer_edge.system.machine import Machine

__all__ = ["Check", "Diagnosis", "diagnose"]

_RIVALS = (
    ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino"),
    (
        "opencv-python",
        "opencv-python-headless",
        "opencv-contrib-python",
        "opencv-contrib-python-headless",
    ),
)
_GOLDEN_TOLERANCE = {"fp32": 1e-3, "fp16": 1e-2, "int8": 0.15}
"""Largest difference by the artifact's precision: golden answers are those of the fp32 network."""

_SECONDS = 10


@dataclass(frozen=True)
class Check:
    """One finding: its subject, whether that is usable, and what was found or what to do."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Diagnosis:
    """All findings.

    ``works`` says whether the model gives its golden answers here. ``exit_code`` is 0 if it does, 1
    if its answers differ, and otherwise the code of the error that opening it raised.
    """

    works: bool
    exit_code: int
    model: Check
    core: tuple[Check, ...]
    backends: tuple[Check, ...]
    auto_order: tuple[str, ...]
    auto: Check
    faces: Check
    devices: tuple[Check, ...]
    extras: tuple[Check, ...]
    problems: tuple[str, ...]
    python: str
    system: str


def diagnose(
    model: str | os.PathLike[str] = DEFAULT_MODEL,
    *,
    precision: str | None = None,
    device: str = "auto",
) -> Diagnosis:
    """Look at this machine and run ``model`` on its golden crops; a file without any is run once.

    ``precision`` and ``device`` are for the question which backend ``auto`` takes. Changes nothing,
    and a defect that it finds is a finding, not an exception.
    """
    try:
        checked = _check_golden_crops(model)
        code = 0 if checked.ok else GateError.exit_code
    except FerEdgeError as problem:
        checked, code = Check(os.fspath(model), False, str(problem)), problem.exit_code
    except Exception as problem:  # a broken OpenCV or engine may raise anything
        checked = Check(os.fspath(model), False, f"cannot be run: {problem!r}")
        code = EngineError.exit_code
    return Diagnosis(
        works=checked.ok,
        exit_code=code,
        model=checked,
        core=(_check_import("numpy"), _check_import("cv2")),
        backends=tuple(_check_backend(name) for name in BACKENDS),
        auto_order=AUTO_ORDER,
        auto=_check_auto(model, precision, device),
        faces=_check_faces(),
        devices=(_cpu(), *_accelerators(), _check_tensorrt_rtx()),
        extras=tuple(_check_extra(extra) for extra in EXTRAS),
        problems=tuple(_clashes()),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        system=platform.platform(),
    )


def _check_golden_crops(model: str | os.PathLike[str]) -> Check:
    from fer_edge.predictor import Predictor

    opened = Model.open(model)
    name, manifest = opened.name, opened.manifest
    with Predictor(opened) as predictor:
        running = f"{predictor.info.precision} on {predictor.info.provider}"
        if manifest is None:
            predictor.predict_tensor(np.zeros((1, *predictor.info.spec.input.shape), np.uint8))
            return Check(name, True, f"{running}: answers; a file alone has no golden crops")
        gaps = []
        for golden in manifest.golden:
            pixels, _ = golden.arrays()
            given = predictor.predict(pixels).probabilities
            expected = np.array(golden.probabilities)
            fits = expected.shape == given.shape
            gaps.append(float(np.abs(given - expected).max()) if fits else math.inf)
        allowed = _GOLDEN_TOLERANCE[predictor.info.precision]
    if not gaps:
        return Check(name, False, f"{running}: its manifest has no golden crops to check")
    largest = float(np.max(gaps))
    verdict = f"{running}: golden crops within {largest:.2g}, allowed {allowed:g}"
    return Check(name, largest <= allowed, verdict)


def _check_auto(model: str | os.PathLike[str], precision: str | None, device: str) -> Check:
    try:
        choice = choose_backend("auto", Model.open(model), precision, device)
    except FerEdgeError as problem:
        return Check("auto", False, str(problem))
    return Check("auto", True, f"{choice.name}: {choice.reason}")


def _check_backend(name: str) -> Check:
    if problem := backend_problem(name):
        return Check(name, False, problem)
    return replace(_check_import(BACKENDS[name].package), name=name)


def _check_import(package: str) -> Check:
    try:
        module = importlib.import_module(package)
    except Exception as problem:  # as above
        return Check(package, False, _broken(package, problem))
    return Check(package, True, f"{package} {module.__version__}")


def _broken(package: str, problem: Exception) -> str:
    return f"{package} is installed and cannot be imported: {problem}"


def _check_faces() -> Check:
    try:
        from fer_edge.faces.detection import FaceDetector

        return Check("faces", True, FaceDetector().name)
    except FerEdgeError as problem:
        return Check("faces", False, str(problem))
    except Exception as problem:  # as above
        return Check("faces", False, f"face detection cannot be imported: {problem}")


def _check_extra(extra: str) -> Check:
    missing = missing_packages(EXTRAS[extra])
    if not missing:
        return Check(extra, True, "installed")
    return Check(extra, False, f"lacks {', '.join(missing)}: pip install 'fer-edge[{extra}]'")


def _clashes() -> list[str]:
    found = ([name for name in names if _is_installed(name)] for names in _RIVALS)
    return [
        f"{' and '.join(names)} are installed together and overwrite each other's files: "
        f"pip uninstall {' '.join(names)}, then install the one that you need"
        for names in found
        if len(names) > 1
    ]


def _is_installed(distribution: str) -> bool:
    try:
        metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def _cpu() -> Check:
    machine = Machine()
    seen = ", ".join(machine.cpu_extensions()) or "no extensions"
    return Check("cpu", True, f"{machine.cpu_name()} {platform.machine()}; {seen}")


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


def _check_tensorrt_rtx() -> Check:
    name = "tensorrt-rtx"
    try:
        from fer_edge.backends.onnxruntime_devices import device_named, rtx_device

        device_named(name)
        rtx_device()
    except FerEdgeError as problem:
        return Check(name, False, str(problem))
    except Exception as problem:  # as above
        return Check(name, False, f"cannot be looked for: {problem!r}")
    return Check(name, True, "NVIDIA's plugin for the backend onnxruntime finds a GPU to run on")


def _nvidia() -> Check:
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(  # noqa: S603 - a fixed command
            command, capture_output=True, text=True, timeout=_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as problem:
        return Check("nvidia", False, f"nvidia-smi fails: {problem}")
    return Check("nvidia", True, "; ".join(answer.stdout.strip().splitlines()))
