"""Optional packages: which extra brings which, and a clear error where one is missing."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from fer_edge.errors import MissingDependencyError

EXTRAS: dict[str, tuple[str, ...]] = {
    "openvino": ("openvino",),
    "tensorrt": ("cuda",),
    "torch": ("torch", "timm", "torchvision", "safetensors"),
    "train": ("torch", "timm", "torchvision", "safetensors", "matplotlib", "tensorboard", "tomli"),
    "calib": ("onnx", "openvino", "matplotlib"),
    "export": (
        "torch",
        "timm",
        "torchvision",
        "safetensors",
        "onnx",
        "openvino",
        "matplotlib",
        "onnxscript",
    ),
    "bench": ("matplotlib",),
    "serve": ("fastapi", "starlette", "uvicorn", "websockets", "prometheus_client"),
    "triton": ("tritonclient",),
}
"""Import names by extra; a test holds them against pyproject.toml."""


def missing_packages(names: Iterable[str]) -> list[str]:
    """Those packages that are not installed; none of them is imported to find out."""
    return [name for name in names if importlib.util.find_spec(name) is None]


@contextmanager
def requires(extra: str) -> Iterator[None]:
    """Turn the absence of one of an extra's packages into MissingDependencyError.

    An import that fails inside an installed package passes through unchanged.
    """
    try:
        yield
    except ModuleNotFoundError as problem:
        if problem.name not in EXTRAS[extra]:
            raise
        raise MissingDependencyError(problem.name, extra) from problem
