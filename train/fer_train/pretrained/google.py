"""The naming of Google's ViT checkpoints (github.com/google-research/vision_transformer).

ImageNet-21k, its fine-tuned and AugReg ones have a class token; GSAM's have none and average the
patches, as timm's ``vit_base_patch16_gap_224`` does. Hybrids (R50+ViT) have a ResNet before it, as
timm's ``vit_base_r50_s16_224`` does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

from fer_train.pretrained.attention import merge_projections

__all__ = ["PREFIXES", "heads", "recognises", "to_timm"]

PREFIXES = ("", "opt/target/", "params/")
"""What may stand before every name: nothing, or what a training kept beside the weights."""

_MARK = "embedding/kernel"
_BLOCK = re.compile(r"Transformer/encoderblock_(\d+)/(.+)")
_OUTSIDE = {
    "embedding": "patch_embed.proj",
    "Transformer/encoder_norm": "norm",
    "pre_logits": "pre_logits.fc",
    "head": "head",
}
_INSIDE = {
    "LayerNorm_0": "norm1",
    "MultiHeadDotProductAttention_1/query": "attn.query",
    "MultiHeadDotProductAttention_1/key": "attn.key",
    "MultiHeadDotProductAttention_1/value": "attn.value",
    "MultiHeadDotProductAttention_1/out": "attn.proj",
    "LayerNorm_2": "norm2",
    "MlpBlock_3/Dense_0": "mlp.fc1",
    "MlpBlock_3/Dense_1": "mlp.fc2",
}
_UNIT = re.compile(r"block(\d+)/unit(\d+)/(conv|gn)(\d|_proj)/(.+)")
_ROOT = {"conv_root": "stem.conv", "gn_root": "stem.norm"}
_BACKBONE = "patch_embed.backbone."
_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias"}
_BARE = {"cls": "cls_token", "Transformer/posembed_input/pos_embedding": "pos_embed"}
_CONVOLUTION, _PER_HEAD, _DENSE = 4, 3, 2


def recognises(weights: Mapping[str, object]) -> bool:
    """Tell whether these names are Google's."""
    return any(prefix + _MARK in weights for prefix in PREFIXES)


def to_timm(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename to timm's ViT and turn every kernel as torch has it.

    Kernels come as ``(P, P, C, D)`` for patches, ``(D, H, D / H)`` for query, key and value,
    ``(H, D / H, D)`` behind them, ``(in, out)`` elsewhere. Unknown names stay as they are.
    """
    plain = _without_prefix(weights)
    return merge_projections({_rename(name): _turn(name, plain[name]) for name in plain})


def heads(weights: Mapping[str, torch.Tensor]) -> int | None:
    """Read the number of attention heads off the first query kernel, ``(D, H, D / H)``."""
    name = "Transformer/encoderblock_0/MultiHeadDotProductAttention_1/query/kernel"
    kernel = _without_prefix(weights).get(name)
    return None if kernel is None or kernel.ndim != _PER_HEAD else kernel.shape[1]


def _without_prefix(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Leave out, too, what a training kept beside the weights, such as moments."""
    prefix = next(prefix for prefix in PREFIXES if prefix + _MARK in weights)
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in weights.items()
        if name.startswith(prefix)
    }


def _rename(name: str) -> str:
    if name in _BARE:
        return _BARE[name]
    if (unit := _UNIT.fullmatch(name)) and unit[5] in _LEAVES:
        place = f"stages.{int(unit[1]) - 1}.blocks.{int(unit[2]) - 1}"
        kind = "conv" if unit[3] == "conv" else "norm"
        layer = f"downsample.{kind}" if unit[4] == "_proj" else f"{kind}{unit[4]}"
        return f"{_BACKBONE}{place}.{layer}.{_LEAVES[unit[5]]}"
    root, _, own = name.partition("/")
    if root in _ROOT and own in _LEAVES:
        return f"{_BACKBONE}{_ROOT[root]}.{_LEAVES[own]}"
    block = _BLOCK.fullmatch(name)
    start, table = (f"blocks.{block[1]}.", _INSIDE) if block else ("", _OUTSIDE)
    owner, _, leaf = (block[2] if block else name).rpartition("/")
    return f"{start}{table[owner]}.{_LEAVES[leaf]}" if owner in table and leaf in _LEAVES else name


def _turn(name: str, tensor: torch.Tensor) -> torch.Tensor:
    if name.endswith(("/bias", "/scale")):  # group norms have them as (1, 1, 1, C)
        return tensor.flatten()
    if not name.endswith("/kernel"):
        return tensor
    if tensor.ndim == _CONVOLUTION:
        return tensor.permute(3, 2, 0, 1)
    if tensor.ndim == _PER_HEAD:
        flat = tensor.flatten(0, 1) if name.endswith("/out/kernel") else tensor.flatten(1)
        return flat.T
    return tensor.T if tensor.ndim == _DENSE else tensor
