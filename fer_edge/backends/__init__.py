"""Backends: one engine each, behind the three calls of ``Backend``.

The table is data; a backend's own module alone imports its engine, at its top.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import cast

from fer_edge.backends.base import Backend, BackendOptions, EngineInfo
from fer_edge.errors import ConfigurationError, MissingDependencyError

__all__ = [
    "AUTO_ORDER",
    "BACKENDS",
    "Backend",
    "BackendEntry",
    "BackendOptions",
    "EngineInfo",
    "backend_class",
    "choose_backend",
]


@dataclass(frozen=True)
class BackendEntry:
    """Where a backend lives and what it takes.

    ``package`` is the import that tells whether its engine is there, ``extra`` what installs it,
    ``formats`` the artifacts that it opens, the preferred first.
    """

    module: str
    class_name: str
    package: str
    extra: str
    formats: tuple[str, ...]


BACKENDS: dict[str, BackendEntry] = {
    "onnxruntime": BackendEntry(
        "fer_edge.backends.onnxruntime", "OnnxRuntimeBackend", "onnxruntime", "", ("onnx",)
    ),
}

AUTO_ORDER = ("onnxruntime",)
"""What ``backend="auto"`` prefers: the first."""


def choose_backend(name: str) -> str:
    """Resolve ``auto``; raises ConfigurationError for an unknown name."""
    if name == "auto":
        return AUTO_ORDER[0]
    if name not in BACKENDS:
        raise ConfigurationError(f"unknown backend {name!r}; there are auto, {', '.join(BACKENDS)}")
    return name


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
        if not f"{entry.package}.".startswith(f"{problem.name}."):
            raise
        raise MissingDependencyError(entry.package, entry.extra) from problem
    return cast("type[Backend]", getattr(module, entry.class_name))
