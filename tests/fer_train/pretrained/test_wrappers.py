"""Names as trainings and libraries wrap them."""

from __future__ import annotations

import math
from pathlib import Path

import foreign_weights as foreign
import pytest
import torch
from foreign_weights import Weights
from safetensors.torch import save_file
from torch import nn

from fer_edge.artifacts.spec import InputSpec, ModelSpec, NetworkSpec
from fer_edge.torch_model.network import build
from fer_train.pretrained import load_initial
from fer_train.pretrained.namings import in_timms_names


def loaded(weights: Weights, tmp_path: Path) -> nn.Module:
    save_file({n: v.contiguous() for n, v in weights.items()}, tmp_path / "x.safetensors")
    network: nn.Module = foreign.fresh(foreign.vit())
    load_initial(network, foreign.vit(), str(tmp_path / "x.safetensors"))
    return network


@pytest.mark.parametrize("prefix", ["model.", "net.backbone.", "module.", "_orig_mod.", "encoder."])
def test_a_prefix_before_all_names_is_stripped(
    weights: Weights, source: nn.Module, tmp_path: Path, prefix: str
) -> None:
    named = {prefix + name: value for name, value in weights.items()}
    foreign.assert_same(loaded(named, tmp_path), source)


@pytest.mark.parametrize("head", ["head.1", "classifier.1", "fc", "model.head", "heads.0"])
def test_a_head_of_another_name_is_the_head(
    weights: Weights, source: nn.Module, tmp_path: Path, head: str
) -> None:
    named = {
        name.replace("head", head) if name.startswith("head.") else f"model.backbone.{name}": value
        for name, value in weights.items()
    }
    foreign.assert_same(loaded(named, tmp_path), source)


@pytest.mark.parametrize("prefix", ["vit.", "", "model.vit."])
@pytest.mark.parametrize("head", ["classifier", "classifier.1"])
def test_hugging_face_heads_and_prefixes(
    weights: Weights, source: nn.Module, tmp_path: Path, prefix: str, head: str
) -> None:
    outer = prefix.removesuffix("vit.")
    named = {
        outer + name.replace("classifier", head) if name.startswith("classifier") else name: value
        for name, value in foreign.to_huggingface(weights, prefix).items()
    }
    foreign.assert_same(loaded(named, tmp_path), source)


def test_transformers_5_names_are_known(
    weights: Weights, source: nn.Module, tmp_path: Path
) -> None:
    new = (
        ("encoder.layer.", "layers."),
        ("attention.attention.query", "attention.q_proj"),
        ("attention.attention.key", "attention.k_proj"),
        ("attention.attention.value", "attention.v_proj"),
        ("attention.output.dense", "attention.o_proj"),
        ("intermediate.dense", "mlp.fc1"),
        ("output.dense", "mlp.fc2"),
    )
    named = {}
    for name, value in foreign.to_huggingface(weights).items():
        for old, after in new:
            name = name.replace(old, after)  # noqa: PLW2901
        named[name] = value
    assert "vit.layers.0.attention.q_proj.weight" in named
    assert "vit.layers.0.mlp.fc2.weight" in named
    foreign.assert_same(loaded(named, tmp_path), source)


def test_torchvisions_vit_answers_alike(tmp_path: Path) -> None:
    from torchvision.models import VisionTransformer

    torch.manual_seed(0)
    theirs = VisionTransformer(
        image_size=32,
        patch_size=8,
        num_layers=2,
        num_heads=4,
        hidden_dim=32,
        mlp_dim=128,
        num_classes=7,
    ).eval()
    with torch.no_grad():
        for value in theirs.parameters():
            value.normal_(0, 0.3)
    network = loaded(dict(theirs.state_dict()), tmp_path)
    inputs = foreign.images(foreign.vit())
    torch.testing.assert_close(
        foreign.logits(network, inputs), foreign.logits(theirs, inputs), atol=1e-4, rtol=1e-4
    )


def test_counters_that_overflowed_in_half_precision_are_left_out(tmp_path: Path) -> None:
    spec = ModelSpec(NetworkSpec("mobilenetv3_small_050"), InputSpec(32, 32))
    source = build(spec)
    source.state_dict()["bn1.num_batches_tracked"].fill_(100_000)
    halved = {name: value.half() for name, value in source.state_dict().items()}
    assert not halved["bn1.num_batches_tracked"].isfinite()
    torch.save(halved, tmp_path / "x.pth")
    network = build(spec)
    load_initial(network, spec, str(tmp_path / "x.pth"))
    ours = network.state_dict()
    assert torch.equal(ours["bn1.num_batches_tracked"], torch.tensor(0))
    torch.testing.assert_close(ours["conv_stem.weight"], halved["conv_stem.weight"].float())


def test_google_hybrids_have_the_names_of_timms() -> None:
    """R50+ViT-B/16, name by name and shape by shape, in the way that Google's file has them."""
    import timm

    network = timm.create_model("vit_base_r50_s16_224", num_classes=7)
    backbone = {n: v for n, v in network.state_dict().items() if n.startswith("patch_embed.")}
    theirs: dict[str, torch.Tensor] = {}
    for name, value in backbone.items():
        theirs[_as_google(name)] = _turned(value)
    assert {"conv_root/kernel", "gn_root/scale", "block1/unit1/conv_proj/kernel"} <= theirs.keys()
    turned = in_timms_names(theirs).tensors
    assert turned.keys() == backbone.keys()
    for name, value in backbone.items():
        torch.testing.assert_close(turned[name], value)


def _as_google(name: str) -> str:
    plain = name.removeprefix("patch_embed.")
    leaf = {"weight": "kernel", "bias": "bias"}[plain.rpartition(".")[2]]
    if plain.startswith("proj."):
        return f"embedding/{leaf}"
    parts = plain.removeprefix("backbone.").split(".")
    is_norm = "norm" in parts[-2]
    leaf = "scale" if is_norm and leaf == "kernel" else leaf
    kind = "gn" if is_norm else "conv"
    if parts[0] == "stem":
        return f"{kind}_root/{leaf}"
    which = "_proj" if parts[4] == "downsample" else parts[4][-1]
    return f"block{int(parts[1]) + 1}/unit{int(parts[3]) + 1}/{kind}{which}/{leaf}"


def _turned(value: torch.Tensor) -> torch.Tensor:
    if value.ndim == 4:
        return value.permute(2, 3, 1, 0)
    return value.reshape(1, 1, 1, -1) if math.prod(value.shape) else value


def test_names_of_another_network_stay_as_they_are(tmp_path: Path) -> None:
    save_file({"a.b.weight": torch.zeros(3)}, tmp_path / "x.safetensors")
    assert "a.b.weight" in foreign.refused(tmp_path / "x.safetensors", "surplus")
