"""Plans for TensorRT: built on the device itself, from an ONNX that was prepared for it.

Only ``builder`` and ``monitor`` import TensorRT; only ``lint`` and ``mixed`` need the package onnx.
"""
