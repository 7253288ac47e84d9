"""Filling a network with tensors in timm's naming: only image size, colours and head may differ."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from fer_edge.errors import ArtifactError
from fer_edge.torch_model.checkpoint import listed, misfits, told

_RGB = 3
_CONVOLUTION = 4
_COUNTER = "num_batches_tracked"
_UNUSED = ("pooler.", "pre_logits.", "embeddings.mask_token")


@dataclass(frozen=True)
class Fitted:
    """What became of the tensors, by the names of the network's parameters and buffers.

    ``adapted`` are among the ``loaded``; ``ignored`` are names of the file that no network needs.
    ``inexact`` are the adapted ones that change what the network answers: resampled patches and
    positions, and a gray convolution spread over colours. ``head_classes`` is the number of classes
    of the file's head; None where it has none.
    """

    loaded: tuple[str, ...]
    new: tuple[str, ...]
    adapted: tuple[str, ...]
    ignored: tuple[str, ...]
    inexact: tuple[str, ...] = ()
    head_classes: int | None = None


def fit(
    network: nn.Module,
    given: Mapping[str, torch.Tensor],
    where: str,
    *,
    keep_head: bool = True,
    rows: Sequence[int] | None = None,
) -> Fitted:
    """Fill ``network`` from ``given``, or leave it as it was.

    A prefix before all names is stripped, and what stands outside of it is ignored if the whole
    network stands behind it. A head of another name, such as the single layer of a Sequential, is
    used as the head. Single numbers that the network lacks, such as an epoch, are ignored.

    timm resamples position embeddings and patches. A first convolution over RGB is summed for gray,
    and one over gray is spread over RGB. The head is kept if it has as many classes, with its rows
    in the order ``rows`` if that is given; otherwise, and without ``keep_head``, it stays new.
    Batch norms' counters, which nothing here uses, stay at 0.

    Raises ArtifactError, which lists what is missing, surplus, misshapen or not a finite number;
    ``where`` begins the message.
    """
    wanted = {n: t for n, t in network.state_dict().items() if not n.endswith(_COUNTER)}
    given = {n: t for n, t in given.items() if not n.endswith(_COUNTER)}
    head = _head_names(network)
    whole = [p for p, count in _prefixes(given, wanted).items() if count >= len(wanted) - len(head)]
    if len(whole) > 1:
        raise ArtifactError(
            f"{where}: it holds {len(whole)} networks, whose names begin with "
            f"{' and '.join(map(repr, sorted(whole)))}; save the right one alone"
        )
    used, ignored = _named_alike(given, {name: wanted[name] for name in head}, wanted)
    weights = _resampled(network, used)
    summed = _match_colours(network, weights)
    kept = keep_head and all(
        name in weights and weights[name].shape[:1] == wanted[name].shape[:1] for name in head
    )
    shapes = [weights[name].shape for name in head if name in weights]
    classes = next((shape[0] for shape in shapes if shape), None)
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
    defects = misfits(wanted, weights)
    defects["missing"] = [name for name in defects["missing"] if kept or name not in head]
    if found := told(defects):
        raise ArtifactError(
            f"{where}. By timm's names, {found}. Only the head may be new: choose the model that "
            "these weights belong to"
        )
    if broken := [name for name, tensor in weights.items() if not _is_finite(tensor)]:
        raise ArtifactError(
            f"{where}: values that are NaN or not finite: {listed(broken)}. Give weights from "
            "before the training diverged"
        )
    network.load_state_dict(weights, strict=False)
    changed = [name for name in weights if name in used and weights[name] is not used[name]]
    return Fitted(
        loaded=tuple(weights),
        new=tuple(name for name in wanted if name not in weights),
        adapted=tuple(changed),
        ignored=tuple(ignored),
        inexact=tuple(
            name
            for name in changed
            if weights[name].shape != used[name].shape and name not in summed
        ),
        head_classes=classes,
    )


def _resampled(network: nn.Module, given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Have timm bring position embeddings and patches to the network's image size.

    timm keeps the filter of an architecture in its module, under this name. Where it fails, our
    check of the shapes gives the better message.
    """
    filter_of = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if filter_of is None:
        return dict(given)
    try:
        return dict(filter_of(dict(given), network))
    except Exception:  # whatever unfitting shapes make it raise
        return dict(given)


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


def _is_finite(tensor: torch.Tensor) -> bool:
    # torch cannot tell it of 8-bit floats
    return bool((tensor.float() if tensor.is_floating_point() else tensor).isfinite().all())


def _named_alike(
    given: Mapping[str, torch.Tensor],
    head: Mapping[str, torch.Tensor],
    wanted: Collection[str],
) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Give the tensors the names in ``wanted``, and list those that no network needs."""
    votes = _prefixes(given, wanted)
    prefix = max(votes, key=lambda found: (votes[found], -len(found)), default="")
    start = f"{prefix}." if prefix else ""
    behind = {n.removeprefix(start): t for n, t in given.items() if n.startswith(start)}
    used, ignored = _without_unused(behind, head, wanted)
    is_whole = used.keys() >= set(wanted) and all(used[n].shape == t.shape for n, t in head.items())
    if is_whole and list(votes.values()).count(votes[prefix]) == 1:
        return used, sorted([*ignored, *(name for name in given if not name.startswith(start))])
    return _without_unused(strip(given, prefix), head, wanted)


def _prefixes(given: Collection[str], wanted: Collection[str]) -> Counter[str]:
    """Count the names that are in ``wanted`` without a prefix, by the prefix."""
    votes: Counter[str] = Counter()
    for name in given:
        parts = name.split(".")
        for depth in range(len(parts)):
            if ".".join(parts[depth:]) in wanted:
                votes[".".join(parts[:depth])] += 1
                break
    return votes


def _without_unused(
    given: Mapping[str, torch.Tensor],
    head: Mapping[str, torch.Tensor],
    wanted: Collection[str],
) -> tuple[dict[str, torch.Tensor], list[str]]:
    ignored = sorted(
        name
        for name, tensor in given.items()
        if name not in wanted and (name.startswith(_UNUSED) or tensor.numel() == 1)
    )
    used = {name: tensor for name, tensor in given.items() if name not in ignored}
    return _with_plain_head(used, head, wanted), ignored


def strip(weights: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Strip a dotted prefix, or as much of it as a name begins with.

    A head beside ``model.backbone.`` is called ``model.head.``, and becomes ``head.``. Where that
    would give two tensors the same name, all stay as they are.
    """
    parts = prefix.split(".") if prefix else []
    starts = [".".join(parts[:depth]) + "." for depth in range(len(parts), 0, -1)]
    stripped = {}
    for name, tensor in weights.items():
        start = next((start for start in starts if name.startswith(start)), "")
        stripped[name[len(start) :]] = tensor
    return stripped if len(stripped) == len(weights) else dict(weights)


def _with_plain_head(
    weights: dict[str, torch.Tensor], head: Mapping[str, torch.Tensor], wanted: Collection[str]
) -> dict[str, torch.Tensor]:
    """Rename the only layer that the network does not know to its head, if it could be one.

    It could if it takes as many features, whatever its name and the number of its classes.
    """
    surplus = [name for name in weights if name not in wanted]
    own = next(iter(head)).rpartition(".")[0]
    renamed = {name: f"{own}.{name.rpartition('.')[2]}" for name in surplus}
    fits = len({name.rpartition(".")[0] for name in surplus}) == 1 and all(
        new in head and weights[old].shape[1:] == head[new].shape[1:]
        for old, new in renamed.items()
    )
    if not fits or any(name in weights for name in head):
        return weights
    return {renamed.get(name, name): tensor for name, tensor in weights.items()}
