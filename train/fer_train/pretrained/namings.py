"""Renaming a ViT's tensors from Hugging Face's, torchvision's and Google's names to timm's.

Google's checkpoints (github.com/google-research/vision_transformer) have a class token, except for
GSAM's, which average the patches as timm's ``vit_base_patch16_gap_224`` does. Its hybrids (R50+ViT)
have a ResNet before the ViT, as timm's ``vit_base_r50_s16_224`` does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import nn

from fer_train.pretrained.fitting import strip
from fer_train.pretrained.reading import Weights

Rules = Mapping[str, str]
"""Regular expressions, each with what replaces it; applied in this order."""

_HUGGING_FACE: Rules = {
    r"^(encoder\.)?layers?\.": "blocks.",
    r"\.layernorm_before\.": ".norm1.",
    r"\.layernorm_after\.": ".norm2.",
    r"\.attention\.attention\.": ".attn.",
    r"\.attention\.output\.dense\.": ".attn.proj.",
    r"\.intermediate\.dense\.": ".mlp.fc1.",
    r"\.output\.dense\.": ".mlp.fc2.",
    # transformers 5
    r"\.attention\.q_proj\.": ".attn.query.",
    r"\.attention\.k_proj\.": ".attn.key.",
    r"\.attention\.v_proj\.": ".attn.value.",
    r"\.attention\.o_proj\.": ".attn.proj.",
    r"^embeddings\.cls_token$": "cls_token",
    r"^embeddings\.position_embeddings$": "pos_embed",
    r"^embeddings\.patch_embeddings\.projection\.": "patch_embed.proj.",
    r"^layernorm\.": "norm.",
    r"^classifier\.(?=\w+$)": "head.",
}
_TORCHVISION: Rules = {
    r"^encoder\.layers\.encoder_layer_": "blocks.",
    r"\.ln_([12])\.": r".norm\1.",
    r"\.self_attention\.in_proj_": ".attn.qkv.",
    r"\.self_attention\.out_proj\.": ".attn.proj.",
    r"\.mlp\.(0|linear_1)\.": ".mlp.fc1.",
    r"\.mlp\.(3|linear_2)\.": ".mlp.fc2.",
    r"^class_token$": "cls_token",
    r"^encoder\.pos_embedding$": "pos_embed",
    r"^conv_proj\.": "patch_embed.proj.",
    r"^encoder\.ln\.": "norm.",
    r"^heads\.head\.": "head.",
}
_GOOGLE: Rules = {
    r"/": ".",
    r"\.(kernel|scale)$": ".weight",
    r"^Transformer\.encoderblock_": "blocks.",
    r"\.LayerNorm_0\.": ".norm1.",
    r"\.LayerNorm_2\.": ".norm2.",
    r"\.MultiHeadDotProductAttention_1\.out\.": ".attn.proj.",
    r"\.MultiHeadDotProductAttention_1\.": ".attn.",
    r"\.MlpBlock_3\.Dense_0\.": ".mlp.fc1.",
    r"\.MlpBlock_3\.Dense_1\.": ".mlp.fc2.",
    r"^cls$": "cls_token",
    r"^Transformer\.posembed_input\.pos_embedding$": "pos_embed",
    r"^embedding\.": "patch_embed.proj.",
    r"^Transformer\.encoder_norm\.": "norm.",
    r"^pre_logits\.": "pre_logits.fc.",
    # hybrids
    r"^conv_root\.": "patch_embed.backbone.stem.conv.",
    r"^gn_root\.": "patch_embed.backbone.stem.norm.",
    r"^(block\d+\.unit\d+)\.gn": r"\1.norm",
    r"^(block\d+\.unit\d+)\.(conv|norm)_proj\.": r"\1.downsample.\2.",
}
_UNIT = re.compile(r"^block(\d{1,3})\.unit(\d{1,3})\.")
_MARKS = {
    "torchvision": ("encoder.layers.encoder_layer_0.ln_1.weight", _TORCHVISION),
    "huggingface": ("embeddings.patch_embeddings.projection.weight", _HUGGING_FACE),
}
"""The end of a name that only this naming has, and its rules."""

_GOOGLES_MARK, _GOOGLES_PREFIXES = "embedding/kernel", ("", "opt/target/", "params/")
_QUERY = "Transformer/encoderblock_0/MultiHeadDotProductAttention_1/query/kernel"
_PROJECTION = re.compile(r"(blocks\.\d+\.attn\.)query(\.(?:weight|bias))")
_CONVOLUTION, _PER_HEAD, _DENSE = 4, 3, 2


def in_timms_names(weights: Weights) -> Weights:
    """Rename to timm's names, whatever prefix the names have; unknown names are left."""
    given = weights.tensors
    for prefix in _GOOGLES_PREFIXES:
        if prefix + _GOOGLES_MARK in given:
            return _from_google(weights, prefix)
    for kind, (mark, rules) in _MARKS.items():
        if (found := next((name for name in given if name.endswith(mark)), None)) is not None:
            plain = strip(given, found.removesuffix(mark).rstrip("."))
            tensors = _joined({_renamed(name, rules): t for name, t in plain.items()})
            return replace(weights, kind=kind, tensors=tensors)
    return weights


def heads_of(network: nn.Module) -> int | None:
    """Count the heads of the first attention; None for a network without.

    Weights have the same shapes whatever the number of heads, so it has to be compared.
    """
    counts = (getattr(module, "num_heads", None) for module in network.modules())
    return next((count for count in counts if isinstance(count, int)), None)


def _renamed(name: str, rules: Rules) -> str:
    for old, new in rules.items():
        name = re.sub(old, new, name)
    return name


def _from_google(weights: Weights, prefix: str) -> Weights:
    """Rename, turn kernels as torch has them, and count the heads.

    Names without ``prefix`` are left out: they are what a training kept beside its weights.
    """
    given = weights.tensors.items()
    plain = {n.removeprefix(prefix): t for n, t in given if n.startswith(prefix)}
    query = plain.get(_QUERY)
    heads = None if query is None or query.ndim != _PER_HEAD else query.shape[1]
    tensors = {
        _UNIT.sub(_timms_block, _renamed(name, _GOOGLE)): _turned(name, tensor)
        for name, tensor in plain.items()
    }
    return replace(weights, kind="google", tensors=_joined(tensors), heads=heads)


def _timms_block(unit: re.Match[str]) -> str:
    """Google counts the stages and blocks of a hybrid's ResNet from 1, timm from 0."""
    return f"patch_embed.backbone.stages.{int(unit[1]) - 1}.blocks.{int(unit[2]) - 1}."


def _turned(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Turn kernels, which are ``(P, P, C, D)`` for patches and ``(in, out)`` for layers.

    Those of attention are per head: ``(D, H, D / H)``, and ``(H, D / H, D)`` behind it.
    """
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


def _joined(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Join query, key and value of each block, ``(D, D)`` each, into timm's ``attn.qkv``.

    Where one of the three is missing or has another shape or type, they stay as they are.
    """
    for match in [*filter(None, map(_PROJECTION.fullmatch, weights))]:
        names = [f"{match[1]}{part}{match[2]}" for part in ("query", "key", "value")]
        parts = [weights[name] for name in names if name in weights]
        alike = len({(part.shape, part.dtype) for part in parts}) == 1
        if len(parts) == len(names) and alike and parts[0].ndim:
            weights[f"{match[1]}qkv{match[2]}"] = torch.cat(parts)
            for name in names:
                del weights[name]
    return weights
