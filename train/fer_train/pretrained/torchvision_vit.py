"""The naming of torchvision's ViT, such as ``vit_b_16``."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

from fer_train.pretrained.wrappers import strip

__all__ = ["recognises", "to_timm"]

_MARK = "encoder.layers.encoder_layer_0.ln_1.weight"
_LAYER = re.compile(r"encoder\.layers\.encoder_layer_(\d+)\.(.+)")
_INSIDE = {
    "ln_1": "norm1",
    "ln_2": "norm2",
    "self_attention.out_proj": "attn.proj",
    "mlp.0": "mlp.fc1",
    "mlp.3": "mlp.fc2",
    "mlp.linear_1": "mlp.fc1",
    "mlp.linear_2": "mlp.fc2",
}
_JOINED = {
    "self_attention.in_proj_weight": "attn.qkv.weight",
    "self_attention.in_proj_bias": "attn.qkv.bias",
}
_OUTSIDE = {
    "class_token": "cls_token",
    "encoder.pos_embedding": "pos_embed",
    "conv_proj.weight": "patch_embed.proj.weight",
    "conv_proj.bias": "patch_embed.proj.bias",
    "encoder.ln.weight": "norm.weight",
    "encoder.ln.bias": "norm.bias",
    "heads.head.weight": "head.weight",
    "heads.head.bias": "head.bias",
}


def recognises(weights: Mapping[str, object]) -> bool:
    """Tell whether these names are torchvision's, behind whatever prefix."""
    return any(name.endswith(_MARK) for name in weights)


def to_timm(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename to timm's ViT; shapes are the same. Unknown names stay as they are."""
    mark = next(name for name in weights if name.endswith(_MARK))
    plain = strip(weights, mark.removesuffix(_MARK).rstrip("."))
    return {_rename(name): tensor for name, tensor in plain.items()}


def _rename(name: str) -> str:
    if name in _OUTSIDE:
        return _OUTSIDE[name]
    layer = _LAYER.fullmatch(name)
    if layer is None:
        return name
    start = f"blocks.{layer[1]}."
    if layer[2] in _JOINED:
        return start + _JOINED[layer[2]]
    owner, _, leaf = layer[2].rpartition(".")
    return f"{start}{_INSIDE[owner]}.{leaf}" if owner in _INSIDE else name
