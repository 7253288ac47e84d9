"""OpenVINO without its conversion tools, and those without telemetry.

``import openvino`` also imports ``openvino.tools.ovc``, which reports the import over the network
(``telemetry.send_event`` in its ``__init__``) and takes two thirds of the time. OpenVINO does
without it where it is not installed, and so it does here; ``openvino.convert_model`` stays there
for whoever asks for it later, and reports nothing, as where ``openvino_telemetry`` is not
installed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["ov"]

_TOOLS, _TELEMETRY = "openvino.tools.ovc", "openvino_telemetry"
_CONVERT = "convert_model"


@contextmanager
def _absent(name: str) -> Iterator[None]:
    """Let imports find that a module is not installed."""
    there = sys.modules.pop(name, None)
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]
        if there is not None:
            sys.modules[name] = there


def _import_runtime() -> Any:
    if "openvino" in sys.modules or _TOOLS in sys.modules:
        import openvino

        return openvino
    with _absent(_TOOLS):
        import openvino

    def __getattr__(name: str) -> Any:  # noqa: N807 - a module's own (PEP 562)
        if name != _CONVERT:
            raise AttributeError(f"module 'openvino' has no attribute {name!r}")
        with _absent(_TELEMETRY):
            from openvino.tools.ovc import convert_model

        return convert_model

    if not hasattr(openvino, _CONVERT):
        openvino.__getattr__ = __getattr__
    return openvino


ov: Any = _import_runtime()
