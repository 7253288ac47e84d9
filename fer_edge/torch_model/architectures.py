"""Our own architectures for faces of 48 pixels, in timm's registry.

timm's are made for 224 pixels: their stems throw most of a small face away. Importing this module
adds the names to timm's registry. Needs the ``torch`` extra.
"""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import torch
from timm.layers import ClassifierHead
from timm.models import register_model
from timm.models.efficientnet import mobilenetv1_100
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_hybrid import HybridEmbed
from torch import nn
from torch.nn import functional

_TIMMS_ARGUMENTS = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")
"""``timm.create_model`` passes these to every architecture; they concern pretrained weights."""


@register_model
def fer_vit(**arguments: Any) -> nn.Module:
    """Blocks of a ViT behind the first four stages of ``fer_dense``: 36 tokens, averaged.

    ``width`` is that of the dense network, whose trained stages may be the start of these
    (Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021, hybrids). Convolutions before
    the blocks let a ViT learn from few pictures (Xiao et al., "Early Convolutions Help Transformers
    See Better", NeurIPS 2021). Tokens are three times as wide; ``depth`` counts the blocks.
    Averaged tokens need no class token (Beyer et al., "Better plain ViT baselines for ImageNet-1k",
    2022).
    """
    plain = own_arguments(arguments)
    width = plain.pop("width", 48)
    stem = _DenseStem(plain.get("in_chans", 3), width)
    defaults = {"img_size": 48, "embed_dim": 3 * width, "depth": 6, "num_heads": 3}
    return VisionTransformer(
        **(defaults | plain),
        patch_size=1,
        embed_layer=partial(HybridEmbed, backbone=stem, proj=False),
        class_token=False,
        global_pool="avg",
    )


class _DenseStem(nn.Module):
    def __init__(self, in_chans: int, width: int) -> None:
        super().__init__()
        self.stages = _dense_stages(in_chans, width, _STEM_STAGES)

    def forward(self, normalized: torch.Tensor) -> torch.Tensor:
        """Map ``(N, C, H, W)`` to ``(N, 3 width, H / 8, W / 8)``."""
        return cast("torch.Tensor", self.stages(normalized))


@register_model
def fer_mobilenet_v1(**arguments: Any) -> nn.Module:
    """Keras' MobileNet v1 of width 1, which pads as TensorFlow does (Howard et al., 2017)."""
    return cast("nn.Module", mobilenetv1_100(pad_type="same", **own_arguments(arguments)))


@register_model
def fer_dense(**arguments: Any) -> nn.Module:
    """Plain 3 x 3 convolutions at 48, 24, 12, 6 and 3 pixels, trained with identity branches.

    ``width`` is the number of channels of the first two stages. Ding et al., "RepVGG: Making
    VGG-style ConvNets Great Again", CVPR 2021, without the 1 x 1 branches.
    """
    return _Dense(**own_arguments(arguments))


_DENSE_DEPTHS, _DENSE_WIDTHS = (2, 2, 4, 4, 3), (1, 1, 2, 3, 6)
_STEM_STAGES = 4


class DenseBlock(nn.Module):
    """A 3 x 3 convolution beside an identity branch, each with batch norm; exports fold it."""

    def __init__(self, in_chans: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_chans, channels, 3, stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        same = in_chans == channels and stride == 1
        self.identity = nn.BatchNorm2d(channels) if same else None
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map ``(N, C, H, W)`` to ``(N, channels, H / stride, W / stride)``."""
        out = self.norm(self.conv(features))
        if self.identity is not None:
            out = out + self.identity(features)
        return functional.relu(out)


class _Dense(nn.Module):
    def __init__(
        self, width: int = 48, num_classes: int = 1000, in_chans: int = 3, drop_rate: float = 0.0
    ) -> None:
        super().__init__()
        self.stages = _dense_stages(in_chans, width, len(_DENSE_DEPTHS))
        channels = width * _DENSE_WIDTHS[-1]
        self.head = ClassifierHead(channels, num_classes, pool_type="avg", drop_rate=drop_rate)

    def get_classifier(self) -> nn.Module:
        """The linear layer, by timm's name for asking."""
        return cast("nn.Module", self.head.fc)

    def forward(self, normalized: torch.Tensor) -> torch.Tensor:
        """Map ``(N, C, H, W)`` to logits ``(N, classes)``."""
        logits: torch.Tensor = self.head(self.stages(normalized))
        return logits


def _dense_stages(in_chans: int, width: int, count: int) -> nn.Sequential:
    """The first ``count`` stages; each but the first halves the picture's sides."""
    stages: list[nn.Module] = []
    for depth, factor in zip(_DENSE_DEPTHS[:count], _DENSE_WIDTHS[:count], strict=True):
        blocks = []
        for block in range(depth):
            stride = 2 if stages and block == 0 else 1
            blocks.append(DenseBlock(in_chans, width * factor, stride))
            in_chans = width * factor
        stages.append(nn.Sequential(*blocks))
    return nn.Sequential(*stages)


def own_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """Drop what ``timm.create_model`` adds for architectures that have pretrained weights."""
    return {name: value for name, value in arguments.items() if name not in _TIMMS_ARGUMENTS}
