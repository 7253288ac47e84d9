"""Fixtures: the bindings, the two doubles, and our modules that import TensorRT, made anew."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import nvidia_builder
import pytest
from nvidia_builder.layers import HEADING, read_layers

from tensorrt_double import bindings

if TYPE_CHECKING:
    from fer_edge.artifacts.artifact import Artifact
    from fer_edge.artifacts.spec import ModelSpec
    from fer_edge.backends import Backend
    from tensorrt_double.cuda import CudaDouble
    from tensorrt_double.engine import TensorRtDouble
    from tensorrt_double.plans import Open, Plan

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
    """The real bindings of the release that this run stands on, or of NVIDIA's builder."""
    if nvidia_builder.VARIABLE in os.environ:
        return importlib.import_module("tensorrt_bindings")
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
def nvidia(tensorrt: TensorRtDouble, monkeypatch: pytest.MonkeyPatch) -> TensorRtDouble:
    """NVIDIA's own parser and builder; the double loads, inspects and runs what they make."""
    if nvidia_builder.VARIABLE not in os.environ:
        pytest.skip("needs NVIDIA's own builder; make nvidia runs the tests under it")
    play(tensorrt, monkeypatch)
    return tensorrt


def play(double: TensorRtDouble, patch: pytest.MonkeyPatch) -> None:
    """Let the double know what the real builder parses, lists, and is told of batches."""
    builder = importlib.import_module("fer_export.tensorrt.builder")
    log, parse, add_profile = builder.BuildLog.log, builder._parse, builder._add_profile

    def record_model(model: bytes, *arguments: Any) -> Any:
        double.model = model
        return parse(model, *arguments)

    def record_layers(self: Any, severity: Any, msg: str) -> None:
        if msg.startswith(HEADING):
            double.layers = read_layers(msg)
        log(self, severity, msg)

    def record_batches(*arguments: Any) -> tuple[int, int, int]:
        found: tuple[int, int, int] = add_profile(*arguments)
        double.batches = list(found)
        return found

    patch.setattr(builder, "_parse", record_model)
    patch.setattr(builder.BuildLog, "log", record_layers)
    patch.setattr(builder, "_add_profile", record_batches)


@pytest.fixture
def backend(tensorrt: TensorRtDouble) -> ModuleType:
    """``fer_edge.backends.tensorrt`` on the double."""
    return importlib.import_module("fer_edge.backends.tensorrt")


@pytest.fixture
def plan(
    tiny_artifact: Path, tiny_spec: ModelSpec, tensorrt: TensorRtDouble, tmp_path: Path
) -> Plan:
    """A plan of the tiny model, which this machine trusts."""
    from tensorrt_double.plans import Plan

    version = tensorrt.bindings.__version__
    return Plan(tmp_path / "model.plan", tiny_artifact.read_bytes(), tiny_spec, version)


@pytest.fixture
def opened(backend: ModuleType, plan: Plan) -> Iterator[Open]:
    """Open the plan with options; whatever was opened is closed at the end."""
    from fer_edge.backends import BackendOptions

    held: list[Backend] = []

    def make(artifact: Artifact | None = None, **options: Any) -> Backend:
        chosen = plan.artifact() if artifact is None else artifact
        held.append(backend.TensorRtBackend(chosen, BackendOptions(**options)))
        return held[-1]

    yield make
    for item in held:
        item.close()
