"""The naming of Hugging Face's ViT, such as ``google/vit-base-patch16-224``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch

from fer_edge.artifacts.record import parse_json
from fer_edge.errors import ArtifactError
from fer_train.pretrained.attention import merge_projections
from fer_train.pretrained.wrappers import strip

__all__ = ["read_config", "read_settings", "recognises", "to_timm"]

_MARK = "embeddings.patch_embeddings.projection.weight"
_BODY = "vit"
_LAYER = re.compile(r"(?:encoder\.)?layers?\.(\d+)\.(.+)\.(weight|bias)")
_INSIDE = {
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
}
_OUTSIDE = {
    "embeddings.cls_token": "cls_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
    "embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
    "layernorm.weight": "norm.weight",
    "layernorm.bias": "norm.bias",
    "classifier.weight": "head.weight",
    "classifier.bias": "head.bias",
}
_MAX_CONFIG_BYTES = 1 << 20


def recognises(weights: Mapping[str, object]) -> bool:
    """Tell whether these names are Hugging Face's, behind whatever prefix."""
    return any(name.endswith(_MARK) for name in weights)


def to_timm(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename to timm's ViT; shapes are the same. Unknown names stay as they are."""
    mark = next(name for name in weights if name.endswith(_MARK))
    plain = strip(weights, mark.removesuffix(_MARK).rstrip("."))
    return merge_projections({_rename(name): tensor for name, tensor in plain.items()})


def read_config(weights_file: Path) -> dict[str, object]:
    """Read the ``config.json`` beside the weights; empty where there is none.

    It tells ``num_attention_heads`` and ``id2label``, which the weights do not. Raises
    ArtifactError for one that cannot be read.
    """
    return read_settings(weights_file.with_name("config.json"))


def read_settings(path: Path) -> dict[str, object]:
    """Read a JSON file of settings; empty where there is none. Raises ArtifactError."""
    if not path.is_file():
        return {}
    if path.stat().st_size > _MAX_CONFIG_BYTES:
        raise ArtifactError(f"{path} is too large for the settings of a model; move it away")
    config = parse_json(path.read_bytes(), str(path))
    return config if isinstance(config, dict) else {}


def _rename(name: str) -> str:
    plain = name.removeprefix(f"{_BODY}.")
    layer = _LAYER.fullmatch(plain)
    if layer and layer[2] in _INSIDE:
        return f"blocks.{layer[1]}.{_INSIDE[layer[2]]}.{layer[3]}"
    return _OUTSIDE.get(plain, plain)
