"""Plans for TensorRT: built on the device itself, from an ONNX that was prepared for it.

Only ``builder`` and ``monitor`` import TensorRT, and only ``lint`` needs the package onnx.
"""

from fer_export.tensorrt.building import build_plan, naming_nvidias_tools, plan_entry
from fer_export.tensorrt.options import TRT_TARGETS, PlanOptions, add_plan_options, plan_options_of
from fer_export.tensorrt.prepared import (
    PreparedOnnx,
    check_precision,
    finish_command,
    read_onnx_spec,
)

__all__ = [
    "TRT_TARGETS",
    "PlanOptions",
    "PreparedOnnx",
    "add_plan_options",
    "build_plan",
    "check_precision",
    "finish_command",
    "naming_nvidias_tools",
    "plan_entry",
    "plan_options_of",
    "read_onnx_spec",
]
