"""Fixtures: the bindings, the two doubles, and our modules that import TensorRT, made anew."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from tensorrt_double import bindings

if TYPE_CHECKING:
    from tensorrt_double.cuda import CudaDouble
    from tensorrt_double.engine import TensorRtDouble

_STANDING_ON_TENSORRT = (
    "fer_edge.backends.tensorrt",
    "fer_export.tensorrt.monitor",
    "fer_export.tensorrt.builder",
)

Import = Callable[[str], ModuleType]


@pytest.fixture(scope="session")
def bindings_cache() -> Path:
    """Where ``make bindings`` keeps what it fetched."""
    return bindings.CACHE


@pytest.fixture(scope="session")
def tensorrt_bindings(bindings_cache: Path) -> ModuleType:
    """The real bindings of the release that this run stands on."""
    try:
        return bindings.load(bindings.chosen(), bindings_cache)
    except bindings.UnavailableError as problem:
        pytest.skip(f"no TensorRT bindings: {problem}")


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> CudaDouble:
    """CUDA on the host, in place of cuda-python's runtime."""
    pytest.importorskip("cuda.bindings", reason="no cuda-python, on which the double stands")
    from tensorrt_double.cuda import CudaDouble

    double = CudaDouble()
    monkeypatch.setattr("fer_edge.backends.cuda.cudart", double)
    return double


@pytest.fixture
def tensorrt(tensorrt_bindings: ModuleType, cuda: CudaDouble) -> Iterator[TensorRtDouble]:
    """TensorRT on ONNX Runtime, imported by our modules as ``tensorrt``."""
    from tensorrt_double.engine import TensorRtDouble

    double = TensorRtDouble(tensorrt_bindings, cuda)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "tensorrt", double.module())
        for name in _STANDING_ON_TENSORRT:
            patch.delitem(sys.modules, name, raising=False)
        yield double
        for name in _STANDING_ON_TENSORRT:
            sys.modules.pop(name, None)


@pytest.fixture
def backend(tensorrt: TensorRtDouble) -> ModuleType:
    """``fer_edge.backends.tensorrt`` on the double."""
    return importlib.import_module("fer_edge.backends.tensorrt")
