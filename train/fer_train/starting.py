"""What a training keeps of the weights that it started from."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import nn

from fer_edge.errors import ConfigurationError
from fer_train.pretrained import InitialWeights
from fer_train.recipe import Recipe


def freeze(network: nn.Module, recipe: Recipe, initial: InitialWeights | None) -> list[nn.Module]:
    """Keep the frozen parts of a network from learning, and return them.

    Raises ConfigurationError for parts that are not there, and where nothing is left to learn.
    """
    if recipe.frozen and initial is None:
        raise ConfigurationError("frozen parts keep the weights of --init; give it, or freeze none")
    parts = dict(network.named_modules())
    for name in recipe.frozen:
        if name not in parts:
            raise ConfigurationError(
                f"frozen names {name!r}, which is no part of {recipe.network.architecture}; its "
                f"parts are {', '.join(name for name, _ in network.named_children())}"
            )
    frozen = [parts[name].requires_grad_(False) for name in recipe.frozen]
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ConfigurationError("frozen names the whole network; leave a part that can learn")
    return frozen


def first_weights(
    network: nn.Module, recipe: Recipe, initial: InitialWeights | None
) -> dict[str, torch.Tensor]:
    """Copy the weights that are mixed into those that are kept; empty if the recipe mixes none.

    Raises ConfigurationError where they are not all from ``--init``: random ones would only harm.
    """
    if not recipe.initial_share:
        return {}
    if initial is None or not initial.is_complete:
        raise ConfigurationError(
            "initial_share mixes the weights of --init into those that are kept; give a finished "
            "checkpoint of this network with --init, or set it to 0"
        )
    return {name: weight.detach().clone() for name, weight in network.named_parameters()}


def mixed(network: nn.Module, first: Mapping[str, torch.Tensor], share: float) -> nn.Module:
    """Mix the first weights into a copy of a network; without any, return the network itself.

    Between a network and what was trained on from it there often is one that answers better than
    both (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022). Its batch norms
    have to be measured anew.
    """
    if not first:
        return network
    found = copy.deepcopy(network)
    with torch.no_grad():
        for name, weight in found.named_parameters():
            weight.lerp_(first[name], share)
    return found
