"""Names that a training wrapped: a prefix before all of them, a head in a Sequential."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

import torch

__all__ = ["with_plain_head", "without_prefix"]

_HEADS = ("head", "heads", "classifier", "fc", "last_linear", "output", "out", "linear")
_MATRIX = 2


def without_prefix(
    weights: Mapping[str, torch.Tensor], wanted: Collection[str]
) -> dict[str, torch.Tensor]:
    """Strip the prefix with which most names are those of ``wanted``; none if that is most.

    Names without the prefix stay, and lose those parts of it that they share: a head beside
    ``model.backbone.`` is called ``model.head.``.
    """
    votes: Counter[str] = Counter()
    known = set(wanted)
    for name in weights:
        parts = name.split(".")
        for depth in range(len(parts)):
            if ".".join(parts[depth:]) in known:
                votes[".".join(parts[:depth])] += 1
                break
    if not votes:
        return dict(weights)
    prefix = max(votes, key=lambda found: (votes[found], -len(found)))
    return strip(weights, prefix)


def strip(weights: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Strip the parts of ``prefix``, a dotted name, that each name begins with.

    Where that would give two tensors the same name, all stay as they are.
    """
    parts = prefix.split(".") if prefix else []
    starts = [".".join(parts[:depth]) + "." for depth in range(len(parts), 0, -1)]
    stripped = {}
    for name, tensor in weights.items():
        start = next((start for start in starts if name.startswith(start)), "")
        stripped[name[len(start) :]] = tensor
    return stripped if len(stripped) == len(weights) else dict(weights)


def with_plain_head(
    weights: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor], head: tuple[str, ...]
) -> dict[str, torch.Tensor]:
    """Rename the single layer of a head in a Sequential, or of another name, to ``head``.

    It counts as the head if it is the only layer that the network does not know, is called like
    one, and takes as many features.
    """
    if not head or any(name in weights for name in head):
        return dict(weights)
    surplus = [name for name in weights if name not in wanted]
    layers = {name.rpartition(".")[0] for name in surplus}
    matrix = next((name for name in head if wanted[name].ndim == _MATRIX), None)
    if len(layers) != 1 or matrix is None:
        return dict(weights)
    (layer,) = layers
    given = weights.get(f"{layer}.weight")
    is_head = layer.split(".")[0].lower() in _HEADS
    if not is_head or given is None or given.shape[1:] != wanted[matrix].shape[1:]:
        return dict(weights)
    own = matrix.rpartition(".")[0]
    return {
        f"{own}.{name.rpartition('.')[2]}" if name in surplus else name: tensor
        for name, tensor in weights.items()
    }
