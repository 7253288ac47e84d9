"""Tensors in timm's naming into a network: image size, colours and head may differ, no more."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from fer_edge.errors import ArtifactError

__all__ = ["Fitted", "fit", "with_plain_head", "without_prefix"]

_LISTED = 5
_RGB = 3
_CONVOLUTION = 4
_COUNTER = "num_batches_tracked"
_UNUSED = ("pooler.", "pre_logits.", "embeddings.mask_token", "n_averaged")


@dataclass(frozen=True)
class Fitted:
    """Names of the network's parameters and buffers by what became of them.

    ``adapted`` are among the ``loaded``; ``ignored`` are names of the file that no network needs.
    ``inexact`` are the adapted ones that change what the network answers: resampled patches and
    positions, and a gray convolution spread over colours.
    """

    loaded: tuple[str, ...]
    new: tuple[str, ...]
    adapted: tuple[str, ...]
    ignored: tuple[str, ...]
    inexact: tuple[str, ...] = ()


def fit(
    network: nn.Module,
    given: Mapping[str, torch.Tensor],
    where: str,
    *,
    keep_head: bool = True,
    rows: Sequence[int] | None = None,
) -> Fitted:
    """Fill ``network`` from ``given``, in whole or not at all.

    A prefix before all names is stripped, and the single layer of a head in a Sequential is used as
    the head. Position embeddings and patches are resampled as timm does it for the
    architecture (bicubic with antialiasing for a ViT); a first convolution over RGB is summed for
    gray, and one over gray spread over RGB. The head is kept if it has as many classes, its rows
    taken in the order ``rows`` if there is one, and stays new otherwise or without ``keep_head``.

    Raises ArtifactError, which lists what is missing, surplus, misshapen or not a finite number;
    ``where`` tells of what. The network is then as it was.
    """
    wanted = network.state_dict()
    given = without_prefix(given, wanted)
    ignored = sorted(n for n, tensor in given.items() if _is_unused(n, tensor, wanted))
    used = {name: tensor for name, tensor in given.items() if name not in ignored}
    head = _head_names(network)
    used = with_plain_head(used, wanted, head)
    weights = {n: _as_counted(t, wanted.get(n)) for n, t in _resampled(network, used).items()}
    summed = _match_colours(network, weights)
    kept = keep_head and all(
        name in weights and weights[name].shape[:1] == wanted[name].shape[:1] for name in head
    )
    for name in head:
        if not kept:
            weights.pop(name, None)
        elif rows is not None and list(rows) != sorted(rows):
            weights[name] = weights[name][list(rows)]
    if kept and any(name.startswith("pre_logits.") for name in ignored):
        raise ArtifactError(
            f"{where}: its head stands on a layer (pre_logits) that timm no longer has, so that "
            "the head cannot be kept and the file gives no finished classifier"
        )
    _check(wanted, weights, () if kept else head, where)
    network.load_state_dict({**wanted, **weights})
    adapted = (name for name in weights if name in used and weights[name] is not used[name])
    return Fitted(
        loaded=tuple(weights),
        new=tuple(n for n in wanted if n not in weights and not n.endswith(_COUNTER)),
        adapted=tuple(adapted),
        ignored=tuple(ignored),
        inexact=tuple(
            name
            for name, tensor in weights.items()
            if name in used and tensor.shape != used[name].shape and name not in summed
        ),
    )


def _is_unused(name: str, tensor: torch.Tensor, wanted: Mapping[str, torch.Tensor]) -> bool:
    """Whether no network needs it, such as a counter that overflowed in half precision."""
    if name.endswith(_COUNTER) and tensor.is_floating_point():
        return not bool(tensor.isfinite().all())
    return name.startswith(_UNUSED) and name not in wanted


def _resampled(network: nn.Module, given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Let timm bring what depends on the image size to the network's.

    Timm keeps the filter of an architecture in its module, under this name. Where it fails, our
    check of the shapes gives the better message.
    """
    filter_of = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if filter_of is None:
        return dict(given)
    try:
        return dict(filter_of(dict(given), network))
    except Exception:  # whatever unfitting shapes make it raise
        return dict(given)


def _as_counted(tensor: torch.Tensor, wanted: torch.Tensor | None) -> torch.Tensor:
    """Give batch norm's counters their type back; some trainings halve them with the weights."""
    if wanted is None or wanted.is_floating_point() or not tensor.is_floating_point():
        return tensor
    is_whole = tensor.shape == wanted.shape and bool((tensor == tensor.round()).all())
    return tensor.to(wanted.dtype) if is_whole and bool(tensor.isfinite().all()) else tensor


def _match_colours(network: nn.Module, weights: dict[str, torch.Tensor]) -> set[str]:
    """Fit first convolutions to the input's colours; those summed for gray answer as before."""
    summed = set()
    settings = getattr(network, "pretrained_cfg", None) or {}
    names = settings.get("first_conv") or ()
    for layer in (names,) if isinstance(names, str) else names:
        name = f"{layer}.weight"
        module = network.get_submodule(layer)
        weight = weights.get(name)
        if weight is None or weight.ndim != _CONVOLUTION or not isinstance(module, nn.Conv2d):
            continue
        come, needed = weight.shape[1], module.in_channels
        if (come, needed) == (_RGB, 1):
            weights[name] = weight.float().sum(1, keepdim=True)
            summed.add(name)
        elif (come, needed) == (1, _RGB):
            weights[name] = weight.float().expand(-1, _RGB, -1, -1) / _RGB
    return summed


def _head_names(network: nn.Module) -> tuple[str, ...]:
    head = cast("Any", network).get_classifier()
    layer = next(name for name, module in network.named_modules() if module is head)
    return tuple(f"{layer}.{name}" for name, _ in head.named_parameters())


def _check(
    wanted: Mapping[str, torch.Tensor],
    weights: Mapping[str, torch.Tensor],
    new: Iterable[str],
    where: str,
) -> None:
    # batch norm's counters are in no old file, and no evaluation needs them
    missing = {name for name in wanted.keys() - set(new) if not name.endswith(_COUNTER)}
    both = sorted(wanted.keys() & weights.keys())
    defects = {
        "missing": sorted(missing - weights.keys()),
        "surplus": sorted(weights.keys() - wanted.keys()),
        "of another shape": [
            f"{name} {tuple(weights[name].shape)} for {tuple(wanted[name].shape)}"
            for name in both
            if weights[name].shape != wanted[name].shape
        ],
        "not finite floating-point numbers": [
            name
            for name in both
            if weights[name].shape == wanted[name].shape  # another may be too large to look at
            and (
                weights[name].is_floating_point() != wanted[name].is_floating_point()
                or not weights[name].isfinite().all()
            )
        ],
    }
    found = [f"{kind}: {_listed(names)}" for kind, names in defects.items() if names]
    if found:
        raise ArtifactError(
            f"{where}. By timm's names, {'; '.join(found)}. "
            "Only the head may be new: choose the model that these weights are of"
        )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"{name:.100}" for name in names[:_LISTED])
    return shown if len(names) <= _LISTED else f"{shown} and {len(names) - _LISTED} more"


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
