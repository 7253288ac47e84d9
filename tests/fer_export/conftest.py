"""A checkpoint small enough to export in seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from fer_edge.artifacts.spec import InputSpec, ModelSpec, NetworkSpec
from fer_edge.torch_model import checkpoint, network


@pytest.fixture(scope="session", autouse=True)
def _short_races() -> Iterator[None]:
    """Latencies are measured, but for a moment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fer_export.race._ROUND_SECONDS", 0.005)
        yield


@pytest.fixture(scope="session")
def small_spec() -> ModelSpec:
    """A real network with our stem, at 32 pixels; torch takes seconds to trace a larger one."""
    net = NetworkSpec("test_efficientnet", stem_stride=1, batch_norm_epsilon=1e-3)
    return ModelSpec(net, InputSpec(32, 32), temperature=1.3)


@pytest.fixture(scope="session")
def weights(small_spec: ModelSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its checkpoint, with random weights that tell the classes apart."""
    torch.manual_seed(0)
    built = network.build(small_spec)
    for name, parameter in built.named_parameters():
        if name == "classifier.weight":
            torch.nn.init.normal_(parameter, std=0.5)
    path = tmp_path_factory.mktemp("weights") / "best.safetensors"
    checkpoint.save(path, built.state_dict(), small_spec)
    return path
