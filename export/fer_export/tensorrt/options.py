"""What a plan can be built as."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fer_edge.artifacts.plan import HARDWARE
from fer_edge.errors import ConfigurationError

__all__ = ["PRODUCTS_KEY", "TRT_TARGETS", "PlanOptions", "plan_flags"]

TRT_TARGETS = {"trt-fp32": "fp32", "trt-fp16": "fp16", "trt-int8": "int8"}
"""Precision by target; the ONNX has it already, because networks are strongly typed."""

PRODUCTS_KEY = "fer_edge.products"
"""ONNX metadata: JSON that maps each Conv, Gemm and MatMul node to the type it computes in."""

_MAX_LEVEL = 5

_FLAGS = {
    "min_batch": "--min-batch",
    "opt_batch": "--opt-batch",
    "max_batch": "--max-batch",
    "workspace_mb": "--workspace",
    "opt_level": "--opt-level",
    "gpu": "--gpu",
    "dla_core": "--dla-core",
    "hardware": "--hardware-compat",
    "version_compatible": "--version-compatible",
}


@dataclass(frozen=True)
class PlanOptions:
    """The optimisation profile, and what the builder may do.

    The engine takes batches from ``min_batch`` to ``max_batch`` and is tuned for ``opt_batch``; an
    ONNX with a static batch leaves no choice. ``workspace_mb`` is the most memory that a layer may
    use while it works. ``opt_level``, 0 to 5, is how long the builder searches (None: TensorRT's
    own, 3). ``gpu`` is the number of the GPU that builds, as CUDA counts them. ``dla_core`` is a
    core of a Jetson's deep learning accelerator: it runs what it can, the GPU the rest.
    ``hardware`` is one of ``HARDWARE``; a ``version_compatible`` plan also runs under later minor
    versions of TensorRT; both cost speed. ``timing_cache`` is the file that keeps what the builder
    measured, so that the next build is shorter (None: beside the plan). ``verbose`` reports all
    that TensorRT says.
    """

    min_batch: int = 1
    opt_batch: int = 1
    max_batch: int = 32
    workspace_mb: int = 1024
    opt_level: int | None = None
    gpu: int = 0
    dla_core: int | None = None
    hardware: str = "this-gpu"
    version_compatible: bool = False
    timing_cache: Path | None = None
    verbose: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.min_batch <= self.opt_batch <= self.max_batch:
            raise ConfigurationError(
                "batches should be 1 <= min <= opt <= max, not "
                f"{self.min_batch}, {self.opt_batch}, {self.max_batch}"
            )
        _require(self.workspace_mb >= 1, "the workspace", "at least 1 MB", self.workspace_mb)
        level = self.opt_level
        _require(level is None or 0 <= level <= _MAX_LEVEL, "the level", "0 to 5", level)
        _require(self.gpu >= 0, "the GPU", "0 or more", self.gpu)
        core = self.dla_core
        _require(core is None or core >= 0, "the DLA core", "0 or more", core)
        _require(self.hardware in HARDWARE, "hardware", " or ".join(HARDWARE), self.hardware)


def plan_flags(options: PlanOptions) -> list[str]:
    """The command line's words for what differs from the default and holds on any machine."""
    words = []
    for name, flag in _FLAGS.items():
        value = getattr(options, name)
        if value != getattr(PlanOptions, name):
            words += [flag] if value is True else [flag, str(value)]
    return words


def _require(holds: bool, what: str, expected: str, came: object) -> None:
    if not holds:
        raise ConfigurationError(f"{what} should be {expected}, not {came}")
