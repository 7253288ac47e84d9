"""Optional packages: which extra brings which, and a clear error where one is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fer_edge.errors import MissingDependencyError

__all__ = ["EXTRAS", "requires"]

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
    "serve": ("fastapi", "uvicorn", "websockets", "prometheus_client"),
    "triton": ("tritonclient",),
}
"""Import names by extra; a test holds them against pyproject.toml."""


@contextmanager
def requires(extra: str) -> Iterator[None]:
    """Turn the absence of one of an extra's packages into MissingDependencyError.

    Only a package that is not there counts; an import that fails inside one passes through.
    """
    try:
        yield
    except ModuleNotFoundError as problem:
        if problem.name not in EXTRAS[extra]:
            raise
        raise MissingDependencyError(problem.name, extra) from problem
