"""What Hugging Face, torchvision and Google call the tensors of a ViT, renamed to timm's names.

Google's checkpoints (github.com/google-research/vision_transformer) have a class token, except for
GSAM's, which average the patches as timm's ``vit_base_patch16_gap_224`` does. Its hybrids (R50+ViT)
have a ResNet before the ViT, as timm's ``vit_base_r50_s16_224`` does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from fer_train.pretrained.fitting import strip

__all__ = ["Named", "heads_of", "in_timms_names"]


@dataclass(frozen=True)
class Named:
    """Tensors in timm's naming, what the names were before, and the number of heads if known."""

    kind: str
    tensors: dict[str, torch.Tensor]
    heads: int | None = None


@dataclass(frozen=True)
class _Naming:
    """How names become timm's.

    ``mark`` ends a name that only this naming has. ``block`` finds the number of a transformer
    block and the rest of the name. The tables map a name, or all but its last part.
    """

    mark: str
    block: re.Pattern[str]
    inside: Mapping[str, str]
    outside: Mapping[str, str]

    def rename(self, name: str) -> str:
        """Timm's name; an unknown one stays as it is."""
        block = self.block.fullmatch(name)
        start, rest = (f"blocks.{block[1]}.", block[2]) if block else ("", name)
        table = self.inside if block else self.outside
        if rest in table:
            return start + table[rest]
        owner, _, leaf = rest.rpartition(".")
        return f"{start}{table[owner]}.{leaf}" if owner in table else name


_HUGGING_FACE = _Naming(
    "embeddings.patch_embeddings.projection.weight",
    re.compile(r"(?:encoder\.)?layers?\.(\d+)\.(.+)"),
    {
        "layernorm_before": "norm1",
        "attention.attention.query": "attn.query",
        "attention.attention.key": "attn.key",
        "attention.attention.value": "attn.value",
        "attention.output.dense": "attn.proj",
        "layernorm_after": "norm2",
        "intermediate.dense": "mlp.fc1",
        "output.dense": "mlp.fc2",
        # transformers 5
        "attention.q_proj": "attn.query",
        "attention.k_proj": "attn.key",
        "attention.v_proj": "attn.value",
        "attention.o_proj": "attn.proj",
        "mlp.fc1": "mlp.fc1",
        "mlp.fc2": "mlp.fc2",
    },
    {
        "embeddings.cls_token": "cls_token",
        "embeddings.position_embeddings": "pos_embed",
        "embeddings.patch_embeddings.projection": "patch_embed.proj",
        "layernorm": "norm",
        "classifier": "head",
    },
)
_TORCHVISION = _Naming(
    "encoder.layers.encoder_layer_0.ln_1.weight",
    re.compile(r"encoder\.layers\.encoder_layer_(\d+)\.(.+)"),
    {
        "ln_1": "norm1",
        "ln_2": "norm2",
        "self_attention.in_proj_weight": "attn.qkv.weight",
        "self_attention.in_proj_bias": "attn.qkv.bias",
        "self_attention.out_proj": "attn.proj",
        "mlp.0": "mlp.fc1",
        "mlp.3": "mlp.fc2",
        "mlp.linear_1": "mlp.fc1",
        "mlp.linear_2": "mlp.fc2",
    },
    {
        "class_token": "cls_token",
        "encoder.pos_embedding": "pos_embed",
        "conv_proj": "patch_embed.proj",
        "encoder.ln": "norm",
        "heads.head": "head",
    },
)
_GOOGLE = _Naming(
    "embedding.weight",
    re.compile(r"Transformer\.encoderblock_(\d+)\.(.+)"),
    {
        "LayerNorm_0": "norm1",
        "MultiHeadDotProductAttention_1.query": "attn.query",
        "MultiHeadDotProductAttention_1.key": "attn.key",
        "MultiHeadDotProductAttention_1.value": "attn.value",
        "MultiHeadDotProductAttention_1.out": "attn.proj",
        "LayerNorm_2": "norm2",
        "MlpBlock_3.Dense_0": "mlp.fc1",
        "MlpBlock_3.Dense_1": "mlp.fc2",
    },
    {
        "cls": "cls_token",
        "Transformer.posembed_input.pos_embedding": "pos_embed",
        "embedding": "patch_embed.proj",
        "Transformer.encoder_norm": "norm",
        "pre_logits": "pre_logits.fc",
        "head": "head",
        "conv_root": "patch_embed.backbone.stem.conv",
        "gn_root": "patch_embed.backbone.stem.norm",
    },
)
_GOOGLES_MARK, _GOOGLES_PREFIXES = "embedding/kernel", ("", "opt/target/", "params/")
_UNIT = re.compile(r"block(\d+)\.unit(\d+)\.(conv|gn)(\d|_proj)\.(.+)")
_QUERY = "Transformer/encoderblock_0/MultiHeadDotProductAttention_1/query/kernel"
_PROJECTION = re.compile(r"(blocks\.\d+\.attn\.)query(\.(?:weight|bias))")
_CONVOLUTION, _PER_HEAD, _DENSE = 4, 3, 2


def in_timms_names(weights: Mapping[str, torch.Tensor]) -> Named:
    """Rename to timm's names, whatever prefix the names have; unknown names stay as they are."""
    for prefix in _GOOGLES_PREFIXES:
        if prefix + _GOOGLES_MARK in weights:
            return _from_google(weights, prefix)
    for kind, naming in (("torchvision", _TORCHVISION), ("huggingface", _HUGGING_FACE)):
        marks = (name for name in weights if name.endswith(naming.mark))
        if (mark := next(marks, None)) is not None:
            plain = strip(weights, mark.removesuffix(naming.mark).rstrip("."))
            return Named(kind, _joined({naming.rename(name): t for name, t in plain.items()}))
    return Named("timm", dict(weights))


def heads_of(network: nn.Module) -> int | None:
    """Count the heads of the first attention; None for a network without.

    Weights have the same shapes whatever the number of heads, so it has to be compared.
    """
    counts = (getattr(module, "num_heads", None) for module in network.modules())
    return next((count for count in counts if isinstance(count, int)), None)


def _from_google(weights: Mapping[str, torch.Tensor], prefix: str) -> Named:
    """Rename, and turn kernels as torch has them.

    Names without ``prefix`` are left out: they are what a training kept beside its weights.
    """
    plain = {n.removeprefix(prefix): t for n, t in weights.items() if n.startswith(prefix)}
    query = plain.get(_QUERY)
    heads = None if query is None or query.ndim != _PER_HEAD else query.shape[1]
    tensors = {_googles_name(name): _turned(name, tensor) for name, tensor in plain.items()}
    return Named("google", _joined(tensors), heads)


def _googles_name(name: str) -> str:
    owner, _, leaf = name.replace("/", ".").rpartition(".")
    leaf = {"kernel": "weight", "scale": "weight"}.get(leaf, leaf)
    dotted = f"{owner}.{leaf}".lstrip(".")
    if unit := _UNIT.fullmatch(dotted):
        kind = "conv" if unit[3] == "conv" else "norm"
        layer = f"downsample.{kind}" if unit[4] == "_proj" else f"{kind}{unit[4]}"
        place = f"stages.{int(unit[1]) - 1}.blocks.{int(unit[2]) - 1}"
        return f"patch_embed.backbone.{place}.{layer}.{unit[5]}"
    return _GOOGLE.rename(dotted)


def _turned(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Kernels come as ``(P, P, C, D)`` for patches and ``(in, out)`` for layers.

    Those of attention come per head: ``(D, H, D / H)``, and ``(H, D / H, D)`` behind it.
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
