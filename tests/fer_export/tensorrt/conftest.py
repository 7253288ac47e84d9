"""TensorRT without a GPU, and prepared models of each precision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorrt_double.fixtures import (  # noqa: F401 - pytest finds fixtures by their names
    backend,
    bindings_cache,
    cuda,
    nvidia,
    tensorrt,
    tensorrt_bindings,
)

from fer_edge.artifacts.spec import ModelSpec
from fer_edge.images.preprocess import preprocess_all
from fer_edge.images.synthetic import synthetic_crops

Prepare = Callable[[str], Path]


@pytest.fixture(scope="session")
def prepare(
    tiny_artifact: Path, tiny_spec: ModelSpec, tmp_path_factory: pytest.TempPathFactory
) -> Prepare:
    """Make a prepared ONNX of a precision, from a network of one layer."""
    onnx = pytest.importorskip("onnx", reason="no onnx to prepare a model with")
    from fer_calib.crops import Crops
    from fer_calib.quantisation import quantize
    from fer_export.contract_nodes import attach_contract, detach_contract
    from fer_export.half_graph import FloatGraph, to_half_graph

    folder = tmp_path_factory.mktemp("prepared")
    core, _ = detach_contract(onnx.load(tiny_artifact), "the tiny model")
    crops = preprocess_all(synthetic_crops(8), tiny_spec.input)
    makers: dict[str, Callable[[], Any]] = {
        "fp32": lambda: core,
        "fp16": lambda: to_half_graph(FloatGraph(core), ()),
        "int8": lambda: quantize(core, Crops(crops, tiny_spec), "canonical"),
    }

    def make(precision: str) -> Path:
        path = folder / f"model.{precision}.onnx"
        if not path.exists():
            spec = tiny_spec.with_changes(precision=precision)
            onnx.save(attach_contract(makers[precision](), spec), path)
        return path

    return make


@pytest.fixture
def prepared(prepare: Prepare, tmp_path: Path) -> Path:
    """A prepared ONNX in fp16, the test's own."""
    path = tmp_path / "model.fp16.onnx"
    path.write_bytes(prepare("fp16").read_bytes())
    return path


@pytest.fixture
def answers() -> Callable[[Path], Any]:
    """Logits and probabilities that ONNX Runtime gives of an ONNX on some crops."""
    from fer_edge import Predictor

    crops = np.random.default_rng(0).integers(0, 256, (7, 48, 48, 1), np.uint8)

    def answer(path: Path) -> Any:
        with Predictor(path) as predictor:
            return crops, predictor.predict_tensor(crops)

    return answer
