"""Training-time blocks folded into what engines run fastest: a convolution, an addition, a ReLU.

Needs the ``torch`` extra.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import cast

import torch
from torch import nn
from torch.nn import functional

from fer_edge.torch_model.architectures import DenseBlock

_SMALLEST = 1e-3
"""Branches that multiply by less stay in the kernel: units would grow beyond all bounds."""


class Residual(nn.Module):
    """``relu(conv(x) + x)``."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map ``(N, C, H, W)`` to the same shape."""
        return functional.relu(self.conv(features) + features)


def folded(network: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode with the same answers, and no batch norm in dense stages.

    Each stage of `DenseBlock` becomes plain convolutions and additions. A network without such
    stages is returned as it is.

    An identity branch is not added to the kernel, as Ding et al. do ("RepVGG: Making VGG-style
    ConvNets Great Again", CVPR 2021): it would be a hundred times as large as the weights beside
    it, which INT8 then rounds away. Its batch norm goes instead into the units of the channels
    between two blocks, which a ReLU lets us choose: relu(a x) = a relu(x) for every a above 0.
    """
    stages = [name for name, module in network.named_modules() if _is_stage(module)]
    if not stages:
        return network
    copied = deepcopy(network).eval()
    for name in stages:
        stage = _folded_stage(list(cast("nn.Sequential", copied.get_submodule(name))))
        if not name:
            return stage
        parent, _, child = name.rpartition(".")
        setattr(copied.get_submodule(parent), child, stage)
    return copied


def _is_stage(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential) and all(isinstance(it, DenseBlock) for it in module)


@torch.no_grad()
def _folded_stage(blocks: Sequence[nn.Module]) -> nn.Sequential:
    """Fold from the last block, whose output keeps its units, to the first, whose input does."""
    made: list[nn.Module] = []
    after = torch.ones((), dtype=torch.float64)  # units of the block's output
    for block in reversed(blocks):
        assert isinstance(block, DenseBlock)  # noqa: S101 - _is_stage looked
        scale, bias = _scale_and_shift(block.norm)
        kernel = block.conv.weight.double() * scale[:, None, None, None]
        before = torch.ones(kernel.shape[1], dtype=torch.float64)  # units of its input
        if block.identity is not None:
            scale, shift = _scale_and_shift(block.identity)
            if block is not blocks[0]:  # whose input is not ours
                before = torch.where(scale.abs() < _SMALLEST, 1.0, scale.abs()) * after
            # what the addition of x leaves to the kernel: nothing where scale is above 0
            left = scale * after / before - 1
            channels = torch.arange(len(scale))
            kernel[channels, channels, 1, 1] += left * before / after
            bias = bias + shift
        kernel = kernel * after.reshape(-1, 1, 1, 1) / before.reshape(1, -1, 1, 1)
        conv = _convolution(kernel, bias * after, block.conv.stride[0])
        plain = [conv, nn.ReLU()] if block.identity is None else [Residual(conv)]
        made = [*plain, *made]
        after = before
    return nn.Sequential(*made).eval()


def _convolution(kernel: torch.Tensor, bias: torch.Tensor, stride: int) -> nn.Conv2d:
    plain = nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, stride, padding=1)
    plain.weight.copy_(kernel)
    cast("nn.Parameter", plain.bias).copy_(bias)
    return plain


def _scale_and_shift(norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """What a batch norm multiplies by and adds in evaluation mode, per channel, in float64."""
    mean, variance = (cast("torch.Tensor", t) for t in (norm.running_mean, norm.running_var))
    scale = norm.weight.double() / torch.sqrt(variance.double() + norm.eps)
    return scale, norm.bias.double() - mean.double() * scale
