"""Backends: one engine each, behind the three calls of ``Backend``.

The table is data (``fer_edge.backends.table``); a backend's own module alone imports its engine.
"""

from __future__ import annotations

import importlib
from typing import cast

from fer_edge.backends.base import Backend, BackendOptions, EngineInfo
from fer_edge.backends.table import AUTO_ORDER, BACKENDS, BackendEntry
from fer_edge.errors import MissingDependencyError

__all__ = [
    "AUTO_ORDER",
    "BACKENDS",
    "Backend",
    "BackendEntry",
    "BackendOptions",
    "EngineInfo",
    "backend_class",
]


def backend_class(name: str) -> type[Backend]:
    """Import a backend.

    Raises MissingDependencyError where its engine is not installed; any other failure of the
    import passes through unchanged.
    """
    entry = BACKENDS[name]
    try:
        module = importlib.import_module(entry.module)
    except ModuleNotFoundError as problem:
        # a module that is lacking inside the engine is a broken engine, not an absent one
        lacking = [p for p in entry.packages if f"{p}.".startswith(f"{problem.name}.")]
        if not lacking:
            raise
        raise MissingDependencyError(lacking[0], entry.extra, entry.source) from problem
    return cast("type[Backend]", getattr(module, entry.class_name))
