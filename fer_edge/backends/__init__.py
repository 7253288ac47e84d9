"""Backends: one engine each, behind the three calls of ``Backend``.

``fer_edge.backends.table`` lists them. Only a backend's own module imports its engine.
"""

from __future__ import annotations

import importlib
from typing import cast

from fer_edge.backends.base import Backend, BackendOptions, EngineInfo, one_line
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
    "backend_problem",
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
        # a module that is missing inside the engine means a broken engine, not an absent one
        missing = [p for p in entry.packages if f"{p}.".startswith(f"{problem.name}.")]
        if not missing:
            raise
        raise entry.absence(missing[0]) from problem
    return cast("type[Backend]", getattr(module, entry.class_name))


def backend_problem(name: str) -> str | None:
    """Why a backend cannot be used on this machine, or None if its engine can be imported."""
    try:
        backend_class(name)
    except MissingDependencyError as problem:
        return str(problem)
    except Exception as problem:  # the import of a broken engine may raise anything
        package = BACKENDS[name].package
        return f"{package} is installed and cannot be imported: {one_line(problem)}"
    return None
