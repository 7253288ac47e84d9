"""The exponential moving average of a network's weights."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn

__all__ = ["Average"]


class Average(nn.Module):
    """A copy of a network whose parameters follow it slowly: those are evaluated and kept.

    Only parameters are averaged. Batch-norm statistics belong to the weights they were measured
    with, so those of the copy are estimated again before each use (``fer_train.conditioning``).
    torch's ``AveragedModel`` copies them one by one in every step, and its counter makes a GPU
    wait.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        self.module = deepcopy(network).requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def follow(self, network: nn.Module) -> None:
        """Move by ``1 - decay`` towards the network's parameters."""
        ours: list[torch.Tensor] = list(self.module.parameters())
        torch._foreach_lerp_(ours, list[torch.Tensor](network.parameters()), 1 - self._decay)
