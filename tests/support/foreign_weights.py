"""Small random ViTs, their weights as others name and save them, and what a refusal must leave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fer_edge.artifacts.spec import InputSpec, ModelSpec, NetworkSpec
from fer_edge.errors import ArtifactError
from fer_edge.torch_model.network import build
from fer_train.pretrained import InitialWeights, load_initial, read_source

WIDTH, HEADS, DEPTH, PATCH = 32, 4, 2, 8
Weights = dict[str, torch.Tensor]


def vit(
    side: int = 32, color: str = "rgb", architecture: str = "vit_tiny_patch16_224", **changes: int
) -> ModelSpec:
    """A ViT of two narrow layers, 4 x 4 patches."""
    arguments = {
        "img_size": side,
        "patch_size": PATCH,
        "embed_dim": WIDTH,
        "depth": DEPTH,
        "num_heads": HEADS,
    }
    channels = 3 if color == "rgb" else 1
    return ModelSpec(
        NetworkSpec(architecture, arguments=arguments | changes),
        InputSpec(side, side, color, mean=(0.5,) * channels, std=(0.5,) * channels),
    )


def random_network(spec: ModelSpec, seed: int = 0) -> nn.Module:
    """No parameter is zero or one, so that none can be mistaken for another."""
    network = build(spec).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                shape = value.shape
                drawn = torch.randn(shape, generator=generator) * 0.3 + ("norm" in name)
                value.copy_(drawn.abs() + 0.5 if name.endswith("running_var") else drawn)
    return network


def fresh(spec: ModelSpec) -> nn.Module:
    return random_network(spec, seed=99)


def small_cnn() -> ModelSpec:
    return ModelSpec(NetworkSpec("mobilenetv3_small_050"), InputSpec(32, 32))


def images(spec: ModelSpec) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    side, channels = spec.input.height, spec.input.channels
    return torch.randn(3, channels, side, side, generator=generator)


@torch.no_grad()
def logits(network: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    answer: torch.Tensor = network.eval()(inputs)
    return answer


def assert_same(network: nn.Module, source: nn.Module) -> None:
    inputs = images(vit())
    assert torch.allclose(logits(network, inputs), logits(source, inputs), atol=1e-5)


def to_google(weights: Weights) -> dict[str, np.ndarray]:
    """Google's naming and layouts; attention's kernels are per head."""
    per_head = (HEADS, WIDTH // HEADS)
    arrays = {
        "Transformer/posembed_input/pos_embedding": weights["pos_embed"].numpy(),
        "embedding/kernel": np.einsum("dcij->ijcd", weights["patch_embed.proj.weight"].numpy()),
        "embedding/bias": weights["patch_embed.proj.bias"].numpy(),
        "Transformer/encoder_norm/scale": weights["norm.weight"].numpy(),
        "Transformer/encoder_norm/bias": weights["norm.bias"].numpy(),
        "head/kernel": weights["head.weight"].numpy().transpose(),
        "head/bias": weights["head.bias"].numpy(),
    }
    if "cls_token" in weights:
        arrays["cls"] = weights["cls_token"].numpy()
    for layer in range(DEPTH):
        ours, theirs = f"blocks.{layer}.", f"Transformer/encoderblock_{layer}/"
        attention = theirs + "MultiHeadDotProductAttention_1/"
        joined = weights[ours + "attn.qkv.weight"].numpy().reshape(3, *per_head, WIDTH)
        bias = weights[ours + "attn.qkv.bias"].numpy().reshape(3, *per_head)
        for part, name in enumerate(("query", "key", "value")):
            arrays[f"{attention}{name}/kernel"] = joined[part].transpose(2, 0, 1)
            arrays[f"{attention}{name}/bias"] = bias[part]
        behind = weights[ours + "attn.proj.weight"].numpy().T
        arrays[attention + "out/kernel"] = behind.reshape(*per_head, WIDTH)
        arrays[attention + "out/bias"] = weights[ours + "attn.proj.bias"].numpy()
        for norm, name in (("norm1", "LayerNorm_0"), ("norm2", "LayerNorm_2")):
            arrays[f"{theirs}{name}/scale"] = weights[f"{ours}{norm}.weight"].numpy()
            arrays[f"{theirs}{name}/bias"] = weights[f"{ours}{norm}.bias"].numpy()
        for dense in (0, 1):
            name = f"{theirs}MlpBlock_3/Dense_{dense}"
            arrays[name + "/kernel"] = weights[f"{ours}mlp.fc{dense + 1}.weight"].numpy().T
            arrays[name + "/bias"] = weights[f"{ours}mlp.fc{dense + 1}.bias"].numpy()
    return arrays


def to_huggingface(weights: Weights, prefix: str = "vit.") -> Weights:
    """Hugging Face's naming."""
    named = {
        prefix + "embeddings.cls_token": weights["cls_token"],
        prefix + "embeddings.position_embeddings": weights["pos_embed"],
        "classifier.weight": weights["head.weight"],
        "classifier.bias": weights["head.bias"],
    }
    for leaf in ("weight", "bias"):
        patches = prefix + f"embeddings.patch_embeddings.projection.{leaf}"
        named[patches] = weights[f"patch_embed.proj.{leaf}"]
        named[prefix + f"layernorm.{leaf}"] = weights[f"norm.{leaf}"]
        for layer in range(DEPTH):
            ours, theirs = f"blocks.{layer}.", f"{prefix}encoder.layer.{layer}."
            joined = weights[f"{ours}attn.qkv.{leaf}"]
            for part, name in enumerate(("query", "key", "value")):
                rows = joined[part * WIDTH : (part + 1) * WIDTH]
                named[f"{theirs}attention.attention.{name}.{leaf}"] = rows.clone()
            for old, new in (
                ("attn.proj", "attention.output.dense"),
                ("norm1", "layernorm_before"),
                ("norm2", "layernorm_after"),
                ("mlp.fc1", "intermediate.dense"),
                ("mlp.fc2", "output.dense"),
            ):
                named[f"{theirs}{new}.{leaf}"] = weights[f"{ours}{old}.{leaf}"]
    return named


def save_google(path: Path, weights: Weights, prefix: str = "", **more: np.ndarray) -> Path:
    """Save as Google does; names of ``more``, without prefix, have ``__`` in place of ``/``."""
    arrays = {prefix + name: array for name, array in to_google(weights).items()}
    arrays |= {name.replace("__", "/"): array for name, array in more.items()}
    with path.open("wb") as stream:
        np.savez(stream, **arrays)
    return path


def save_torch(path: Path, value: object, **how: Any) -> Path:
    torch.save(value, path, **how)
    return path


ALPHABETICAL = ("Anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")


def in_alphabetical_order(weights: Weights) -> Weights:
    """The same network with its classes in the order of ImageFolder."""
    ours = [0, 1, 2, 3, 6, 4, 5]
    heads = {f"head.{leaf}": weights[f"head.{leaf}"][ours] for leaf in ("weight", "bias")}
    return weights | heads


def save_config(folder: Path, labels: object, heads: int = HEADS) -> None:
    config = {"num_attention_heads": heads, "id2label": labels}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def loaded(
    path: str | Path, spec: ModelSpec | None = None, **how: Any
) -> tuple[nn.Module, InitialWeights]:
    """A fresh network, filled from a file, and what is told of it."""
    spec = spec or vit()
    network = fresh(spec)
    return network, load_initial(network, spec, read_source(str(path)), **how)


def refused(path: Path, match: str, spec: ModelSpec | None = None) -> str:
    spec = spec or vit()
    network = fresh(spec)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(ArtifactError, match=match) as caught:
        load_initial(network, spec, read_source(str(path)))
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 2500
    return str(caught.value)
