"""What a plan can be built as."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fer_edge.errors import ConfigurationError

__all__ = ["TRT_TARGETS", "PlanOptions"]

TRT_TARGETS = {"trt-fp32": "fp32", "trt-fp16": "fp16", "trt-int8": "int8"}
"""Precision by target; the ONNX has it already, for networks are strongly typed."""


@dataclass(frozen=True)
class PlanOptions:
    """The optimisation profile, and what the builder may do.

    The engine takes batches from ``min_batch`` to ``max_batch`` and is tuned for ``opt_batch``; an
    ONNX with a static batch leaves no choice. ``workspace_mb`` bounds the memory that a layer may
    use while it works. A ``hardware_compatible`` plan runs on every GPU from compute capability
    8.0 on (not on Jetson), a ``version_compatible`` one under later minor versions of TensorRT;
    both cost speed. ``timing_cache`` keeps what the builder measured, so that the next build is
    shorter; by default it lies beside the plan.
    """

    min_batch: int = 1
    opt_batch: int = 1
    max_batch: int = 32
    workspace_mb: int = 1024
    hardware_compatible: bool = False
    version_compatible: bool = False
    timing_cache: Path | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.min_batch <= self.opt_batch <= self.max_batch:
            raise ConfigurationError(
                "batches should be 1 <= min <= opt <= max, not "
                f"{self.min_batch}, {self.opt_batch}, {self.max_batch}"
            )
        if self.workspace_mb < 1:
            raise ConfigurationError(
                f"the workspace should be at least 1 MB, not {self.workspace_mb}"
            )
