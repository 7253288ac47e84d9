"""Plans for TensorRT: built on the device itself, from an ONNX that was prepared for it.

Only ``builder`` and ``monitor`` import TensorRT, and only ``lint`` needs the package onnx.
"""

from fer_export.tensorrt.building import LAYERS_SUFFIX, build_plan, diagnostic_commands
from fer_export.tensorrt.options import TRT_TARGETS, PlanOptions
from fer_export.tensorrt.prepared import (
    PreparedOnnx,
    check_precision,
    finish_command,
    read_onnx_spec,
)

__all__ = [
    "LAYERS_SUFFIX",
    "TRT_TARGETS",
    "PlanOptions",
    "PreparedOnnx",
    "build_plan",
    "check_precision",
    "diagnostic_commands",
    "finish_command",
    "read_onnx_spec",
]
