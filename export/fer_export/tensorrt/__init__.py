"""Plans for TensorRT: built on the device itself, from an ONNX that was prepared for it.

Only ``builder`` and ``monitor`` import TensorRT, and only ``lint`` needs the package onnx.
"""

from fer_export.tensorrt.building import build_plan
from fer_export.tensorrt.options import TRT_TARGETS, PlanOptions
from fer_export.tensorrt.prepared import check_precision, finish_command, read_onnx_spec

__all__ = [
    "TRT_TARGETS",
    "PlanOptions",
    "build_plan",
    "check_precision",
    "finish_command",
    "read_onnx_spec",
]
