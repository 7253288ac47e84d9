"""TensorRT without a GPU, and small models in every format."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tensorrt_double.fixtures import (  # noqa: F401 - pytest finds fixtures by their names
    backend,
    bindings_cache,
    cuda,
    opened,
    plan,
    tensorrt,
    tensorrt_bindings,
)

from fer_edge.artifacts.artifact import Artifact, read_artifact
from fer_edge.artifacts.model import Model
from fer_edge.artifacts.spec import InputSpec, ModelSpec, NetworkSpec

ENGINES = ("onnxruntime", "openvino-onnx", "openvino", "torch")
"""Ways to run the same small network; each opens a file of its own."""


def make_artifact_of(data: bytes, name: str = "model.onnx", **more: Any) -> Artifact:
    """An artifact in memory."""
    suffix = Path(name).suffix
    form = {".onnx": "onnx", ".xml": "openvino", ".safetensors": "torch"}[suffix]
    return Artifact(Path(name), form, data, hashlib.sha256(data).hexdigest(), **more)


@pytest.fixture(scope="session")
def artifact_of() -> Callable[..., Artifact]:
    """Wrap bytes as an artifact."""
    return make_artifact_of


def crops_of(count: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Noise as the small models take it."""
    return np.random.default_rng(seed).integers(0, 256, (count, 48, 48, 1), np.uint8)


@pytest.fixture(scope="session")
def crops() -> Callable[..., npt.NDArray[np.uint8]]:
    """Make tensors ``(count, 48, 48, 1)`` of noise."""
    return crops_of


def write_ir(onnx_file: Path, target: Path, spec: ModelSpec | None) -> Path:
    """Turn an ONNX into an IR, with our spec unless that is None."""
    ov = pytest.importorskip("openvino", reason="no openvino to make an IR with")
    model = ov.Core().read_model(onnx_file)
    if spec is not None:
        model.set_rt_info(spec.to_json(), "fer_edge")
    ov.save_model(model, target, compress_to_fp16=False)
    return target


@pytest.fixture(scope="session")
def tiny_ir(
    tiny_artifact: Path, tiny_spec: ModelSpec, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The tiny artifact as an IR."""
    return write_ir(tiny_artifact, tmp_path_factory.mktemp("ir") / "model.xml", tiny_spec)


@pytest.fixture
def ir(tiny_ir: Path) -> Artifact:
    """The tiny IR, as the OpenVINO backend opens it."""
    return Model.open(tiny_ir).artifact("openvino")


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The first dimension of every model that is compiled, and its settings."""
    ov = pytest.importorskip("openvino", reason="no openvino that compiles")
    seen: list[Any] = []
    compile_model = ov.Core.compile_model

    def record(core: Any, model: Any, device: str, settings: dict[str, str]) -> Any:
        batch = model.input().get_partial_shape()[0]
        seen.append((batch.get_length() if batch.is_static else None, device, settings))
        return compile_model(core, model, device, settings)

    monkeypatch.setattr(ov.Core, "compile_model", record)
    return seen


@pytest.fixture(scope="session")
def small_spec() -> ModelSpec:
    """A real network, though a very small one."""
    return ModelSpec(NetworkSpec("test_efficientnet"), InputSpec(48, 48), temperature=1.5)


@pytest.fixture(scope="session")
def small_checkpoint(small_spec: ModelSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of the small network, with weights that make a difference."""
    torch = pytest.importorskip("torch", reason="no torch to make a checkpoint with")
    pytest.importorskip("timm", reason="no timm to build a network with")
    from fer_edge.torch_model import checkpoint, network

    with torch.random.fork_rng():
        torch.manual_seed(0)
        built = network.build(small_spec)
        torch.nn.init.normal_(built.get_classifier().weight, std=0.5)
    path = tmp_path_factory.mktemp("small") / "model.safetensors"
    checkpoint.save(path, built.state_dict(), small_spec)
    return path


@pytest.fixture(scope="session")
def small_onnx(small_checkpoint: Path, small_spec: ModelSpec) -> Path:
    """The small network as ONNX."""
    onnx = pytest.importorskip("onnx", reason="no onnx to make an artifact with")
    import torch

    from fer_edge.torch_model import checkpoint
    from fer_export.contract_nodes import attach_contract

    network, _ = checkpoint.load(small_checkpoint)
    core = small_checkpoint.with_name("core.onnx")
    axes = {"normalized": {0: "batch"}, "logits": {0: "batch"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the older exporter, which takes a tenth of the time
        torch.onnx.export(
            network,
            (torch.zeros(2, 1, 48, 48),),
            core,
            dynamo=False,
            input_names=["normalized"],
            output_names=["logits"],
            dynamic_axes=axes,
            opset_version=18,
        )
    path = small_checkpoint.with_name("model.onnx")
    onnx.save(attach_contract(onnx.load(core), small_spec), path)
    return path


@pytest.fixture(scope="session")
def small_artifacts(
    small_checkpoint: Path, small_onnx: Path, small_spec: ModelSpec
) -> dict[str, Artifact]:
    """The small network for each of ENGINES."""
    ir = write_ir(small_onnx, small_onnx.with_suffix(".xml"), small_spec)
    files = dict(zip(ENGINES, (small_onnx, small_onnx, ir, small_checkpoint), strict=True))
    return {engine: read_artifact(file) for engine, file in files.items()}
