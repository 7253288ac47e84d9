"""Published weights of a known network, and how they are fitted into ours."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from timm.layers import Conv2dSame
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from fer_edge.artifacts.spec import InputSpec, ModelSpec
from fer_edge.errors import ArtifactError
from fer_edge.torch_model.network import Normalized
from fer_train.conditioning import batch_norms
from fer_train.pretrained.fitting import Fitted, fit
from fer_train.pretrained.stem import enlarging_stem, gray_stem

_STEM, _STEM_MEAN = "conv_stem", "bn1.running_mean"


@dataclass(frozen=True)
class Published:
    """The weights of an architecture of timm, in its naming, without a head.

    ``origin`` tells package, version and licence. ``mean`` (one per plane) and ``std`` are the
    normalisation that they were trained with, of pixels from 0 to 1. Where ``unmeasured``, the
    batch norms have scales and shifts, and their statistics have yet to be measured.
    """

    kind: str
    architecture: str
    path: Path
    sha256: str
    origin: str
    tensors: dict[str, torch.Tensor]
    mean: tuple[float, float, float]
    std: float
    unmeasured: bool = False

    def normalised(self, spec: InputSpec) -> InputSpec:
        """Give an input the normalisation of these weights."""
        mean = self.mean if spec.channels == len(self.mean) else (sum(self.mean) / 3,)
        return replace(spec, mean=mean, std=(self.std,) * spec.channels)


def fit_published(
    network: nn.Module, spec: ModelSpec, given: Published, pictures: torch.Tensor | None
) -> Fitted:
    """Fill the network of ``spec``, whose input has the normalisation of the weights.

    A first layer of stride 1 gets the weights that see a small picture as the original sees it
    enlarged. Batch norms that have to be measured are measured on ``pictures``, uint8
    ``(N, C, H, W)`` as the network takes them; without pictures they stay unmeasured. Raises
    ArtifactError for weights of another architecture.
    """
    wanted = spec.network.architecture
    if wanted != given.architecture:
        raise ArtifactError(
            f"{given.path} holds weights of {given.architecture}, and the model to train is "
            f"{wanted}; choose one that is built on {given.architecture}"
        )
    tensors = dict(given.tensors)
    stem = network.get_submodule(_STEM)
    kernel = tensors[f"{_STEM}.weight"]
    if spec.input.channels == 1:
        gray, added = gray_stem(kernel / given.std, given.mean, spec.input.mean[0])
        kernel = gray * given.std
        tensors[_STEM_MEAN] = tensors[_STEM_MEAN] - added
    if spec.network.stem_stride == 1:
        kernel = enlarging_stem(kernel, padded_after=isinstance(stem, Conv2dSame))
    tensors[f"{_STEM}.weight"] = kernel
    where = f"{given.path} ({given.kind}) does not fit {wanted}"
    fitted = fit(network, tensors, where, keep_head=False)
    if given.unmeasured and pictures is not None:
        measure_batch_norms(network, spec, pictures)
    adapted = () if kernel is given.tensors[f"{_STEM}.weight"] else (f"{_STEM}.weight",)
    return replace(fitted, adapted=adapted)


@torch.no_grad()
def measure_batch_norms(network: nn.Module, spec: ModelSpec, pictures: torch.Tensor) -> None:
    """Give every batch norm the mean and variance that it sees on ``pictures``.

    Its weight and bias are changed so that the network computes the same as before. In training a
    batch norm normalises by what it sees, which would otherwise change everything.
    """
    seen: dict[_BatchNorm, tuple[torch.Tensor, torch.Tensor]] = {}

    def note(layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        values = inputs[0].double()
        seen[cast("_BatchNorm", layer)] = (
            values.mean((0, 2, 3)),
            values.var((0, 2, 3), unbiased=False),
        )

    training = network.training
    with ExitStack() as hooks:
        for layer in batch_norms(network):
            hooks.enter_context(layer.register_forward_pre_hook(note))
        Normalized(network, spec).eval()(pictures)
    network.train(training)
    for layer, (mean, variance) in seen.items():
        norm: Any = layer
        scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        shift = norm.bias.double() - scale * norm.running_mean.double()
        norm.weight.copy_(scale * (variance + norm.eps).sqrt())
        norm.bias.copy_(shift + scale * mean)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
