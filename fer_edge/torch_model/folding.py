"""Training-time blocks folded into what they compute: one plain convolution each.

Needs the ``torch`` extra.
"""

from __future__ import annotations

from collections import OrderedDict
from copy import deepcopy
from typing import cast

import torch
from torch import nn

from fer_edge.torch_model.architectures import DenseBlock

__all__ = ["folded"]


def folded(network: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode with the same answers and one convolution per dense block.

    The kernel and bias take in both batch norms and the identity branch (Ding et al., "RepVGG:
    Making VGG-style ConvNets Great Again", CVPR 2021, section 3.3). A network without such blocks
    is returned as it is.
    """
    blocks = [name for name, module in network.named_modules() if isinstance(module, DenseBlock)]
    if not blocks:
        return network
    copied = deepcopy(network).eval()
    for name in blocks:
        block = cast("DenseBlock", copied.get_submodule(name))
        parent, _, child = name.rpartition(".")
        plain = OrderedDict[str, nn.Module](conv=_convolution(block), act=nn.ReLU())
        setattr(copied.get_submodule(parent), child, nn.Sequential(plain).eval())
    return copied


@torch.no_grad()
def _convolution(block: DenseBlock) -> nn.Conv2d:
    conv = block.conv
    scale, bias = _scale_and_shift(block.norm)
    kernel = conv.weight.double() * scale[:, None, None, None]
    if block.identity is not None:
        scale, shift = _scale_and_shift(block.identity)
        channels = torch.arange(len(scale))
        kernel[channels, channels, 1, 1] += scale
        bias = bias + shift
    plain = nn.Conv2d(conv.in_channels, conv.out_channels, 3, conv.stride[0], padding=1)
    plain.weight.copy_(kernel)
    cast("nn.Parameter", plain.bias).copy_(bias)
    return plain


def _scale_and_shift(norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """What a batch norm multiplies by and adds in evaluation mode, per channel, in float64."""
    mean, variance = (cast("torch.Tensor", t) for t in (norm.running_mean, norm.running_var))
    scale = norm.weight.double() / torch.sqrt(variance.double() + norm.eps)
    return scale, norm.bias.double() - mean.double() * scale
