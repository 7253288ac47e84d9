"""Attention in other namings: three projections that timm keeps as one, and the number of heads."""

from __future__ import annotations

import re

import torch
from torch import nn

__all__ = ["heads_of", "merge_projections"]

_PROJECTION = re.compile(r"(blocks\.\d+\.attn\.)(query|key|value)(\.(?:weight|bias))")


def merge_projections(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Join ``attn.query``, ``attn.key`` and ``attn.value`` of each block into ``attn.qkv``.

    Each has a weight ``(D, D)`` and a bias ``(D,)``; joined they are ``(3 D, D)`` and ``(3 D,)``.
    Where one of the three lacks or has another shape or type, they stay as they are.
    """
    merged = dict(weights)
    for name in weights:
        match = _PROJECTION.fullmatch(name)
        if match is None or match[2] != "query":
            continue
        names = [f"{match[1]}{part}{match[3]}" for part in ("query", "key", "value")]
        parts = [weights[part] for part in names if part in weights]
        alike = len({(part.shape, part.dtype) for part in parts}) == 1
        if len(parts) == len(names) and alike and parts[0].ndim:
            merged[f"{match[1]}qkv{match[3]}"] = torch.cat(parts)
            for part in names:
                del merged[part]
    return merged


def heads_of(network: nn.Module) -> int | None:
    """Count the heads of the first attention; None for a network without.

    Weights have the same shapes whatever the number of heads, so that it has to be compared.
    """
    counts = (getattr(module, "num_heads", None) for module in network.modules())
    return next((count for count in counts if isinstance(count, int)), None)
