"""A checkpoint small enough to export in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fer_edge.artifacts.spec import InputSpec, ModelSpec, NetworkSpec
from fer_edge.torch_model import checkpoint, network


@pytest.fixture(scope="session")
def small_spec() -> ModelSpec:
    """A real MobileNet with our stem, at 32 pixels."""
    net = NetworkSpec("mobilenetv3_small_050", stem_stride=1, batch_norm_epsilon=1e-3)
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
