"""The ONNX that a plan is built from, read on a device: ONNX Runtime tells its spec."""

from __future__ import annotations

import shlex
from pathlib import Path

from fer_edge.artifacts.model import Model
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.backends.base import BackendOptions
from fer_edge.backends.onnxruntime import OnnxRuntimeBackend
from fer_edge.errors import ConfigurationError
from fer_export.tensorrt.options import TRT_TARGETS, PlanOptions

__all__ = ["check_precision", "finish_command", "read_onnx_spec"]

_NUMBERS = {
    "min_batch": "--min-batch",
    "opt_batch": "--opt-batch",
    "max_batch": "--max-batch",
    "workspace_mb": "--workspace",
}
_SWITCHES = {
    "hardware_compatible": "--hardware-compat",
    "version_compatible": "--version-compatible",
}


def read_onnx_spec(path: Path) -> ModelSpec:
    """Read the spec that an ONNX of ours carries; its graph is held against it.

    Needs ONNX Runtime, which the runtime brings, and not the package onnx. Raises ArtifactError.
    """
    artifact = Model.open(path).artifact("onnxruntime")
    backend = OnnxRuntimeBackend(artifact, BackendOptions(device="cpu"))
    backend.close()
    return backend.spec


def check_precision(path: Path, target: str) -> ModelSpec:
    """Return the spec of an ONNX whose precision is that of ``target``.

    Raises ConfigurationError for another precision, which building cannot change, and for an
    unknown target.
    """
    if target not in TRT_TARGETS:
        raise ConfigurationError(f"unknown target {target}; there are {', '.join(TRT_TARGETS)}")
    spec = read_onnx_spec(path)
    require_precision(path, spec, target)
    return spec


def require_precision(path: Path, spec: ModelSpec, target: str) -> None:
    """Raise ConfigurationError where an ONNX has not the precision of ``target``."""
    wanted = TRT_TARGETS[target]
    if spec.precision != wanted:
        raise ConfigurationError(
            f"{path} is {spec.precision}, and {target} is built from {wanted}: TensorRT computes "
            "in the precision that the ONNX has. Prepare one on a workstation with: "
            f"fer-export --weights CHECKPOINT --prepare-only --target {target} --out DIR"
        )


def finish_command(onnx: Path, target: str, out: Path, options: PlanOptions) -> str:
    """Tell the one command that finishes a prepared ONNX on the device, as ``options`` ask."""
    words = ["fer-export", "--from-onnx", str(onnx), "--target", target, "--out", str(out)]
    for field, flag in _NUMBERS.items():
        if (value := getattr(options, field)) != getattr(PlanOptions, field):
            words += [flag, str(value)]
    words += [flag for field, flag in _SWITCHES.items() if getattr(options, field)]
    return shlex.join(words)
