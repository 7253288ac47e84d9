"""The optimizer of a recipe, its learning rate, and when a training ends.

Rate and end are computed from the recipe and the losses so far. They keep no state, so an
interrupted training continues as if nothing had happened.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import timm.optim
import torch
from torch import nn

from fer_train.recipe import Recipe

_FUSED = {"adam", "adamw", "sgd"}
"""Optimizers of torch that update all weights in one call, on CPUs and on GPUs."""


def optimizer_of(recipe: Recipe, network: nn.Module) -> torch.optim.Optimizer:
    """Build it over the network's parameters; biases and norms do not decay."""
    fused: dict[str, Any] = {"fused": True} if recipe.optimizer in _FUSED else {}
    return timm.optim.create_optimizer_v2(
        network,
        opt=recipe.optimizer,
        lr=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        **fused,
    )


_LOWEST = 0.01
_PLATEAU_FACTOR = 0.1


def learning_rate(recipe: Recipe, done: float, losses: Sequence[float]) -> float:
    """Return the rate after ``done`` epochs, which may be a fraction.

    ``losses`` are those of the evaluations so far, in their order.
    """
    if done < recipe.warmup_epochs:
        return recipe.learning_rate * done / recipe.warmup_epochs
    if recipe.schedule == "plateau":
        return recipe.learning_rate * _PLATEAU_FACTOR ** _drops(losses, recipe.plateau_patience)
    share = (done - recipe.warmup_epochs) / max(1, recipe.epochs - recipe.warmup_epochs)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
    return recipe.learning_rate * (_LOWEST + (1 - _LOWEST) * cosine)


def is_over(recipe: Recipe, epochs: int, losses: Sequence[float]) -> bool:
    """Tell whether the training ends after so many ``epochs``, or by early stopping."""
    since_best = len(losses) - 1 - losses.index(min(losses)) if losses else 0
    return epochs >= recipe.epochs or 0 < recipe.early_stopping <= since_best


def _drops(losses: Sequence[float], patience: int) -> int:
    """Count how often ``patience`` evaluations in a row brought no smaller loss."""
    drops, best, waited = 0, math.inf, 0
    for loss in losses:
        if loss < best:
            best, waited = loss, 0
            continue
        waited += 1
        if waited >= patience:
            drops, waited = drops + 1, 0
    return drops
