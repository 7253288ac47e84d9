"""The one state dict in what a training saved around it, whatever it is called there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from fer_edge.errors import ArtifactError
from fer_train.pretrained.labels import FACTS

__all__ = ["unwrapped"]

_PREFERRED = ("state_dict_ema", "model_ema", "ema", "ema_state_dict", "averaged")
"""Averaged weights are the ones to evaluate, where both are kept."""

_USUAL = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights")
_MAX_LAYERS = 4
_SHOWN = 5
_DATA_PARALLEL = "module."


def unwrapped(path: Path, loaded: object) -> tuple[dict[str, torch.Tensor], dict[str, object]]:
    """Find the tensors by name, and what else the file tells of its labels.

    Of several state dicts averaged ones come first, then those with the usual names. Raises
    ArtifactError where none stands out, and for tensors that are not plain.
    """
    facts: dict[str, object] = {}
    for _ in range(_MAX_LAYERS):  # a pickle may hold itself
        if not isinstance(loaded, Mapping):
            raise ArtifactError(f"{path} holds a {type(loaded).__name__}, not a state dict")
        facts |= {key: value for key, value in loaded.items() if key in FACTS}
        inner = {
            key: value
            for key, value in loaded.items()
            if isinstance(key, str) and isinstance(value, Mapping) and _may_hold_weights(key, value)
        } or {key: value for key, value in loaded.items() if _holds_deeper(key, value)}
        if not inner:
            return _plain(path, loaded), facts
        loaded = _chosen(path, inner)
    raise ArtifactError(f"{path} has a state dict below {_MAX_LAYERS} others; save that alone")


def _may_hold_weights(key: str, value: Mapping[object, object]) -> bool:
    """A mapping of tensors by name, or one of the usual names with more inside."""
    named = [name for name, item in value.items() if isinstance(item, torch.Tensor)]
    if named:
        return all(isinstance(name, str) for name in named)
    return key in (*_PREFERRED, *_USUAL) and any(isinstance(v, Mapping) for v in value.values())


def _holds_deeper(key: object, value: object, layers: int = _MAX_LAYERS) -> bool:
    """A mapping under any name that leads to tensors by name; an optimizer numbers its own."""
    if not isinstance(key, str) or not isinstance(value, Mapping) or not layers:
        return False
    return _may_hold_weights(key, value) or any(
        _holds_deeper(name, item, layers - 1) for name, item in value.items()
    )


def _chosen(path: Path, inner: Mapping[str, object]) -> object:
    for key in (*_PREFERRED, *_USUAL):
        if key in inner:
            return inner[key]
    if len(inner) > 1:
        raise ArtifactError(
            f"{path} holds several state dicts ({', '.join(f'{key:.40}' for key in inner)}); save "
            "the one that is meant: torch.save(torch.load(...)[KEY], 'weights.pth')"
        )
    return next(iter(inner.values()))


def _plain(path: Path, loaded: Mapping[object, object]) -> dict[str, torch.Tensor]:
    tensors = {
        _unwrapped_name(name): value
        for name, value in loaded.items()
        if isinstance(name, str) and isinstance(value, torch.Tensor)
    }
    if not tensors:
        keys = ", ".join(f"{key!r:.40}" for key in list(loaded)[:_SHOWN]) or "nothing"
        raise ArtifactError(f"{path} holds no tensors by name, but {keys}; a state dict is needed")
    for name, tensor in tensors.items():
        if tensor.device.type != "cpu" or tensor.layout != torch.strided or tensor.is_quantized:
            raise ArtifactError(f"{path} is no plain state dict: {name:.80} is not a dense tensor")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise ArtifactError(
                f"{path} is no plain state dict: {name:.80} claims {tensor.numel():,} numbers and "
                "keeps fewer; save it after .contiguous()"
            )
    return tensors


def _unwrapped_name(name: str) -> str:
    """Drop what torch.compile and DataParallel put before a name."""
    name, start = name.replace("_orig_mod.", ""), 0
    while name.startswith(_DATA_PARALLEL, start):
        start += len(_DATA_PARALLEL)
    return name[start:]
