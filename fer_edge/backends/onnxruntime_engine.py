"""ONNX Runtime without its telemetry, and its sessions without noise.

From 1.29 on, its releases for Linux and macOS send events about processes, models and sessions to
their makers, and keep a device id and a database in the home folder. This begins with the import,
so calling ``disable_telemetry_events`` afterwards is too late. The environment variable
``ORT_DISABLE_TELEMETRY``, which it reads once at the import, does work. A value that is already set
is the user's choice and is kept; so is an import before ours.
"""

from __future__ import annotations

import os

__all__ = ["ort", "quiet_options", "quiet_session"]

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

_ERRORS_ONLY = 3


def quiet_options(threads: int, *, spinning: bool = False) -> ort.SessionOptions:
    """Options of a session that logs errors alone.

    Left to itself, ONNX Runtime binds each thread to a core, whether this process may use it or
    not; so the number of threads is always set. ``spinning`` lets idle threads keep their cores.
    """
    options = ort.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    return options


def quiet_session(model: bytes, threads: int) -> ort.InferenceSession:
    """A session on the CPU; raises what ONNX Runtime raises."""
    return ort.InferenceSession(model, quiet_options(threads), providers=["CPUExecutionProvider"])
