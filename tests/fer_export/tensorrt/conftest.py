"""TensorRT without a GPU, and prepared models of each precision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tensorrt_double.fixtures import (  # noqa: F401 - pytest finds fixtures by their names
    backend,
    bindings_cache,
    cuda,
    tensorrt,
    tensorrt_bindings,
)

from fer_edge.artifacts.spec import ModelSpec

MakeArtifact = Callable[[Path, ModelSpec], Path]


@pytest.fixture
def prepared(make_artifact: MakeArtifact, tiny_spec: ModelSpec, tmp_path: Path) -> Path:
    """An ONNX that says it is fp16; what TensorRT makes of it is the double's to say."""
    return make_artifact(tmp_path / "model.fp16.onnx", tiny_spec.with_changes(precision="fp16"))
