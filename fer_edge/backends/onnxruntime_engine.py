"""ONNX Runtime without its telemetry.

From 1.29 on, its releases for Linux and macOS send events about processes, models and sessions to
their makers, and keep a lasting number of the device and a database in the home folder. Both begin
when it is imported, so that ``disable_telemetry_events`` comes too late; what it heeds is
``ORT_DISABLE_TELEMETRY``, read once, then. A value that is set already is the user's choice, and
so is an import before ours.
"""

from __future__ import annotations

import os

__all__ = ["ort"]

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort
