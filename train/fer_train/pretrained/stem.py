"""First layers that are computed or taken over instead of learnt.

**From large coloured pictures to small gray ones.** A network that was trained on large pictures
sees most in a small one when that is enlarged first. Enlarging twice and then convolving with
stride 2 is, away from the border, one convolution of stride 1 on the small picture: each output
sees three neighbouring source pixels per direction. The planes of a gray picture are alike, so
their kernels add up.

**From a dense network to a ViT.** The first stages of a trained dense network are the stem of our
hybrid ViT.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, cast

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from fer_edge.artifacts.spec import ModelSpec
from fer_edge.errors import ArtifactError
from fer_edge.torch_model.checkpoint import misfits, told
from fer_edge.torch_model.network import Normalized
from fer_train.conditioning import batch_norms
from fer_train.pretrained.fitting import Fitted, fit
from fer_train.pretrained.reading import Published, Weights

_KERNEL, _MEAN = "conv_stem.weight", "bn1.running_mean"

_TAPS = ((0.25, 0.75, 0.0), (0.0, 0.75, 0.25), (0.0, 0.25, 0.75))
"""Weights with which each tap of the kernel sees the source pixels before, at and after the output.

A bilinear enlargement has weights of 3/4 and 1/4.
"""


def fit_published(
    network: nn.Module,
    spec: ModelSpec,
    given: Weights,
    known: Published,
    pictures: torch.Tensor | None,
) -> Fitted:
    """Fill the network of ``spec``, whose input has the normalisation of the weights.

    A first layer of stride 1 gets the weights that see a small picture as the original sees it
    enlarged. Batch norms that have to be measured are measured on ``pictures``, uint8
    ``(N, C, H, W)`` as the network takes them; without pictures they stay unmeasured. Raises
    ArtifactError for weights of another architecture.
    """
    wanted = spec.network.architecture
    if wanted != known.architecture:
        raise ArtifactError(
            f"{given.path} holds weights of {known.architecture}, and the model to train is "
            f"{wanted}; choose one that is built on {known.architecture}"
        )
    tensors, original = dict(given.tensors), given.tensors[_KERNEL]
    kernel = original
    if spec.input.channels == 1:
        gray, added = gray_stem(kernel / known.std, known.mean, spec.input.mean[0])
        kernel = gray * known.std
        tensors[_MEAN] = tensors[_MEAN] - added
    if spec.network.stem_stride == 1:
        kernel = enlarging_stem(kernel)
    tensors[_KERNEL] = kernel
    where = f"{given.path} ({given.kind}) does not fit {wanted}"
    fitted = fit(network, tensors, where, keep_head=False)
    if known.unmeasured and pictures is not None:
        _measure_batch_norms(network, spec, pictures)
    return replace(fitted, adapted=() if kernel is original else (_KERNEL,))


def enlarging_stem(kernel: torch.Tensor) -> torch.Tensor:
    """Fold a bilinear enlargement by two into a 3 x 3 kernel of stride 2.

    ``kernel`` is ``(O, I, 3, 3)`` and pads below and on the right alone, as TensorFlow does for
    even sizes; the result has the same shape and is for stride 1 and one pixel of padding on each
    side.
    """
    taps = kernel.new_tensor(_TAPS)
    return torch.einsum("oikl,ka,lb->oiab", kernel, taps, taps)


def gray_stem(
    kernel: torch.Tensor, mean: Sequence[float], gray_mean: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn a kernel over three planes into one over a gray plane.

    ``kernel`` is ``(O, 3, K, K)``, for planes from which ``mean`` was subtracted, in the units of
    the normalised picture. The result is a kernel ``(O, 1, K, K)`` for a plane from which
    ``gray_mean`` was subtracted, and a number to add to each output, ``(O,)``.
    """
    away = gray_mean - kernel.new_tensor(mean)
    return kernel.sum(1, keepdim=True), torch.einsum("oikl,i->o", kernel, away)


@torch.no_grad()
def _measure_batch_norms(network: nn.Module, spec: ModelSpec, pictures: torch.Tensor) -> None:
    """Give every batch norm the mean and variance that it sees on ``pictures``.

    Its weight and bias are changed so that the network computes the same as before. In training a
    batch norm normalises by what it sees, which would otherwise change everything.
    """
    seen: dict[_BatchNorm, tuple[torch.Tensor, torch.Tensor]] = {}

    def note(layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        variance, mean = torch.var_mean(inputs[0].double(), (0, 2, 3), correction=0)
        seen[cast("_BatchNorm", layer)] = mean, variance

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


_STAGES, _STEM = "stages.", "patch_embed.backbone.stages."


def is_stem_of(theirs: ModelSpec | None, ours: ModelSpec) -> bool:
    """Tell whether a checkpoint is of a network whose first stages are the stem of ours."""
    names = ("fer_dense", "fer_vit")
    return theirs is not None and names == (
        theirs.network.architecture,
        ours.network.architecture,
    )


def fit_stem(network: nn.Module, given: Weights) -> Fitted:
    """Fill the stem of ``network`` from a dense checkpoint; all that is behind it stays new.

    Raises ArtifactError where the dense network is of another width; the network is then as it was.
    """
    wanted = network.state_dict()
    sources = {name: name.replace(_STEM, _STAGES) for name in wanted if name.startswith(_STEM)}
    stem = {name: given.tensors[old] for name, old in sources.items() if old in given.tensors}
    if defects := told(misfits({name: wanted[name] for name in sources}, stem)):
        raise ArtifactError(
            f"{given.path} does not fit the stem of the network: {defects}. Set width of the "
            "network to that of the checkpoint"
        )
    network.load_state_dict(wanted | stem)
    return Fitted(
        loaded=tuple(stem),
        new=tuple(name for name in wanted if name not in stem),
        adapted=(),
        ignored=tuple(sorted(given.tensors.keys() - sources.values())),
    )
