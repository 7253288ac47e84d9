"""A random ViT, and its weights by timm's names."""

from __future__ import annotations

import pytest
from foreign_weights import Weights, random_network, vit
from torch import nn


@pytest.fixture(scope="module")
def source() -> nn.Module:
    return random_network(vit())


@pytest.fixture
def weights(source: nn.Module) -> Weights:
    return {name: value.clone() for name, value in source.state_dict().items()}
