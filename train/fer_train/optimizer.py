"""The optimizer of a recipe."""

from __future__ import annotations

from typing import Any

import timm.optim
import torch
from torch import nn

from fer_train.recipe import Recipe

__all__ = ["optimizer_of", "set_learning_rate"]

_FUSED = {"adam", "adamw", "sgd"}
"""Those of torch that update all weights in one call, on CPUs and on GPUs."""


def optimizer_of(recipe: Recipe, network: nn.Module) -> torch.optim.Optimizer:
    """Build it over the network's parameters; biases and norms do not decay."""
    how: dict[str, Any] = {"fused": True} if recipe.optimizer in _FUSED else {}
    return timm.optim.create_optimizer_v2(
        network,
        opt=recipe.optimizer,
        lr=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        **how,
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Set the same rate on every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = value
