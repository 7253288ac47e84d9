"""Large networks for 48 pixels that only teach: fer_edge does not know them.

Importing this module adds them to timm's registry.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from timm.layers import ClassifierHead, ConvNormAct
from timm.models import register_model
from timm.models.resnet import BasicBlock, ResNet
from torch import nn

from fer_edge.torch_model.architectures import own_arguments

_VGG = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512))


@register_model
def fer_resnet18(**arguments: Any) -> nn.Module:
    """ResNet-18 with a 3 x 3 stem of stride 1 and no max-pool, as it is built for CIFAR.

    He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2.
    """
    network: Any = ResNet(cast("Any", BasicBlock), (2, 2, 2, 2), **own_arguments(arguments))
    stem = nn.Conv2d(arguments.get("in_chans", 3), 64, kernel_size=3, padding=1, bias=False)
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
    network.conv1, network.maxpool = stem, nn.Identity()
    return cast("nn.Module", network)


@register_model
def fer_vgg(**arguments: Any) -> nn.Module:
    """Ten 3 x 3 convolutions of VGG-16 with batch norm, averaged in place of its dense layers.

    Simonyan and Zisserman, "Very Deep Convolutional Networks", ICLR 2015, without the last block:
    48 pixels allow for four.
    """
    return _Vgg(**own_arguments(arguments))


class _Vgg(nn.Module):
    def __init__(self, num_classes: int = 1000, in_chans: int = 3, drop_rate: float = 0.0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for block in _VGG:
            if layers:
                layers.append(nn.MaxPool2d(2))
            for channels in block:
                layers.append(ConvNormAct(in_chans, channels, kernel_size=3))
                in_chans = channels
        self.features = nn.Sequential(*layers)
        self.head = ClassifierHead(in_chans, num_classes, pool_type="avg", drop_rate=drop_rate)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def get_classifier(self) -> nn.Module:
        """The linear layer, by timm's name for asking."""
        return cast("nn.Module", self.head.fc)

    def forward(self, normalized: torch.Tensor) -> torch.Tensor:
        """Map ``(N, C, H, W)`` to logits ``(N, classes)``."""
        logits: torch.Tensor = self.head(self.features(normalized))
        return logits
