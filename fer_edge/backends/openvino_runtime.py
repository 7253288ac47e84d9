"""OpenVINO without its conversion tools, and those without telemetry.

``import openvino`` also imports ``openvino.tools.ovc``, which reports the import over the network
(``telemetry.send_event`` in its ``__init__``) and takes two thirds of the time. OpenVINO works
without that package, so it is hidden during the import; ``openvino.convert_model`` still works when
it is used later. ``openvino_telemetry`` is hidden for the rest of the process, so nothing else that
uses OpenVINO reports anything either.

``process_core`` gives one ``Core`` for the process. OpenVINO's CPU plugin (2026.4) sets a signal
stack when a ``Core`` loads it and frees it with that ``Core``. If two of them end in the order in
which they were made, the process keeps a stack that was freed, and the next Ctrl-C is a
segmentation fault.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

from fer_edge.errors import EngineError
from fer_edge.system.calls import forked_during_a_call
from fer_edge.system.forking import in_each_child

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

_cores: dict[int, Any] = {}
_making = threading.Lock()


def _renew_lock() -> None:
    global _making  # noqa: PLW0603 - another thread of the parent may have held it
    _making = threading.Lock()


in_each_child(_renew_lock)


def process_core() -> Any:
    """The ``Core`` of this process, which is never freed; a forked child gets its own.

    Raises EngineError in a child whose parent used OpenVINO and had a call under way at the fork:
    OpenVINO's locks may be held there for ever.
    """
    with _making:
        if os.getpid() not in _cores:
            if _cores and forked_during_a_call():
                raise EngineError(
                    "OpenVINO does not work in this process: it was forked while another thread of "
                    "the parent was in a call, whose locks stay held here. Start processes with "
                    "spawn, fork while nothing is predicted, or use backend='onnxruntime'"
                )
            # the parent's stays: its threads are not in this process, so ending it could hang
            _cores[os.getpid()] = ov.Core()
        return _cores[os.getpid()]
