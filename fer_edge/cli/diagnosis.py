"""What is installed, which backends work, which devices there are, and what to install.

OpenCV or an engine may be broken, so nothing that needs them is imported at the top.
"""

from __future__ import annotations

import importlib
import math
import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np

from fer_edge.artifacts.model import DEFAULT_MODEL, Model
from fer_edge.backends import AUTO_ORDER, BACKENDS, backend_problem
from fer_edge.backends.base import BackendOptions, one_line
from fer_edge.backends.choose_backend import choose_backend
from fer_edge.errors import EngineError, FerEdgeError, GateError
from fer_edge.system.dependencies import EXTRAS, missing_packages
from fer_edge.system.machine import Machine

_RIVALS = (
    ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino"),
    (
        "opencv-python",
        "opencv-python-headless",
        "opencv-contrib-python",
        "opencv-contrib-python-headless",
    ),
)
_GOLDEN_TOLERANCE = {"fp32": 1e-3, "fp16": 1e-2, "int8": 0.2}
"""Largest difference by the artifact's precision: golden answers are those of the fp32 network.

Golden crops are drawings, whose probabilities INT8 moves more than those of faces.
"""


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
        core=tuple(
            _finding(name, f"{name} is installed and cannot be imported", _version, name)
            for name in ("numpy", "cv2")
        ),
        backends=tuple(map(_check_backend, BACKENDS)),
        auto_order=AUTO_ORDER,
        auto=_finding("auto", "cannot be chosen", _auto, model, precision, device),
        faces=_finding("faces", "face detection cannot be imported", _detector),
        devices=tuple(_devices(Machine())),
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


def _finding(name: str, failed: str, look: Callable[..., str], *arguments: Any) -> Check:
    """What ``look`` tells, or why it cannot; ``failed`` says what an unknown error means."""
    try:
        return Check(name, True, look(*arguments))
    except FerEdgeError as problem:
        return Check(name, False, str(problem))
    except Exception as problem:  # a broken OpenCV, engine or driver may raise anything
        return Check(name, False, f"{failed}: {one_line(problem)}")


def _version(package: str) -> str:
    return f"{package} {importlib.import_module(package).__version__}"


def _check_backend(name: str) -> Check:
    problem = backend_problem(name)
    return Check(name, problem is None, problem or _version(BACKENDS[name].package))


def _auto(model: str | os.PathLike[str], precision: str | None, device: str) -> str:
    choice = choose_backend("auto", Model.open(model), precision, BackendOptions(device))
    return f"{choice.name}: {choice.reason}"


def _detector() -> str:
    from fer_edge.faces.detection import FaceDetector

    return FaceDetector().name


def _check_extra(extra: str) -> Check:
    missing = missing_packages(EXTRAS[extra])
    if not missing:
        return Check(extra, True, "installed")
    return Check(extra, False, f"lacks {', '.join(missing)}: pip install 'fer-edge[{extra}]'")


def _clashes() -> list[str]:
    installed = {distribution.name for distribution in metadata.distributions()}
    found = ([name for name in names if name in installed] for names in _RIVALS)
    return [
        f"{' and '.join(names)} are installed together and overwrite each other's files: "
        f"pip uninstall {' '.join(names)}, then install the one that you need"
        for names in found
        if len(names) > 1
    ]


def _devices(machine: Machine) -> list[Check]:
    extensions = ", ".join(machine.cpu_extensions()) or "no extensions"
    cpu = f"{machine.cpu_name()} {platform.machine()}; {extensions}"
    found = [Check("cpu", True, cpu)]
    if board := machine.text("proc/device-tree/model"):
        found.append(Check("board", True, board))
    if shutil.which("nvidia-smi"):
        said = machine.output(
            "nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"
        )
        gpus = "; ".join((said or "").strip().splitlines())
        told = gpus or "nvidia-smi fails; run it to see why, and install NVIDIA's driver"
        found.append(Check("nvidia", bool(gpus), told))
    for kind, pattern in (("gpu", "dev/dri/renderD*"), ("npu", "dev/accel/accel*")):
        found += [Check(kind, True, f"/{node}") for node in machine.paths(pattern)]
    found.append(_finding("tensorrt-rtx", "cannot be looked for", _tensorrt_rtx))
    return found


def _tensorrt_rtx() -> str:
    from fer_edge.backends.onnxruntime_devices import device_named, rtx_device

    device_named("tensorrt-rtx")
    rtx_device()
    return "NVIDIA's plugin for the backend onnxruntime finds a GPU to run on"
