"""OpenVINO without its conversion tools, and those without telemetry.

``import openvino`` also imports ``openvino.tools.ovc``, which reports the import over the network
(``telemetry.send_event`` in its ``__init__``) and takes two thirds of the time. OpenVINO works
without that package, so it is hidden during the import; ``openvino.convert_model`` still works when
it is used later. ``openvino_telemetry`` is hidden for the rest of the process, so nothing else that
uses OpenVINO reports anything either.
"""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["ov"]

_TOOLS, _TELEMETRY = "openvino.tools.ovc", "openvino_telemetry"
_CONVERT = "convert_model"


def _import_runtime() -> Any:
    sys.modules.setdefault(_TELEMETRY, None)  # type: ignore[arg-type]  # absent, to an import
    if "openvino" in sys.modules or _TOOLS in sys.modules:
        import openvino

        return openvino
    sys.modules[_TOOLS] = None  # type: ignore[assignment]
    try:
        import openvino
    finally:
        del sys.modules[_TOOLS]

    def __getattr__(name: str) -> Any:  # noqa: N807 - a module's own (PEP 562)
        if name != _CONVERT:
            raise AttributeError(f"module 'openvino' has no attribute {name!r}")
        from openvino.tools.ovc import convert_model

        return convert_model

    if not hasattr(openvino, _CONVERT):
        openvino.__getattr__ = __getattr__
    return openvino


ov: Any = _import_runtime()
