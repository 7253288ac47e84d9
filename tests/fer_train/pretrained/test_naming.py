"""Every naming of a ViT's weights, however wrapped, gives the logits of the network."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import foreign_weights as foreign
import numpy as np
import pytest
import timm
import torch
from foreign_weights import Weights
from safetensors.torch import save_file
from torch import nn

from fer_edge.artifacts.spec import InputSpec, ModelSpec, NetworkSpec
from fer_edge.torch_model.network import build
from fer_train.pretrained.namings import in_timms_names
from fer_train.pretrained.reading import Weights as ReadWeights


@pytest.mark.parametrize("prefix", ["", "opt/target/", "params/"])
def test_googles_npz_gives_the_same_logits(
    source: nn.Module, weights: Weights, tmp_path: Path, prefix: str
) -> None:
    """What a training kept beside its weights is left out."""
    beside = {"opt__state__step": np.array(3), "opt__state__head__bias": np.zeros(7)}
    path = foreign.save_google(tmp_path / "x.npz", weights, prefix, **beside if prefix else {})
    network, report = foreign.loaded(path)
    foreign.assert_same(network, source)
    assert (report.kind, report.is_complete, report.adapted) == ("google", True, ())
    assert set(report.loaded) == set(network.state_dict())


def test_googles_npz_gives_what_timms_own_reader_gives(weights: Weights, tmp_path: Path) -> None:
    path = foreign.save_google(tmp_path / "ViT-B_16.npz", weights)
    (network, _), theirs = foreign.loaded(path), foreign.fresh(foreign.vit())
    cast("Any", theirs).load_pretrained(str(path))
    expected = theirs.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("prefix", ["vit.", "", "model.vit."])
@pytest.mark.parametrize("head", ["classifier", "classifier.1"])
def test_hugging_faces_names_give_the_same_logits(
    source: nn.Module, weights: Weights, tmp_path: Path, prefix: str, head: str
) -> None:
    outer = prefix.removesuffix("vit.")
    named = {
        outer + name.replace("classifier", head) if name.startswith("classifier") else name: value
        for name, value in foreign.to_huggingface(weights, prefix).items()
    }
    named[prefix + "pooler.dense.weight"] = torch.ones(foreign.WIDTH, foreign.WIDTH)
    save_file(named, tmp_path / "model.safetensors", metadata={"format": "pt"})
    network, report = foreign.loaded(tmp_path / "model.safetensors")
    foreign.assert_same(network, source)
    assert (report.kind, report.is_complete) == ("huggingface", True)
    assert report.ignored == ("pooler.dense.weight",)


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
    assert {"vit.layers.0.attention.q_proj.weight", "vit.layers.0.mlp.fc2.weight"} <= named.keys()
    network, _ = foreign.loaded(foreign.save_torch(tmp_path / "x.pth", named))
    foreign.assert_same(network, source)


def test_torchvisions_vit_answers_alike(tmp_path: Path) -> None:
    from torchvision.models import VisionTransformer

    torch.manual_seed(0)
    theirs = VisionTransformer(32, 8, 2, 4, 32, 128, num_classes=7).eval()
    with torch.no_grad():
        for value in theirs.parameters():
            value.normal_(0, 0.3)
    network, _ = foreign.loaded(foreign.save_torch(tmp_path / "x.pth", theirs.state_dict()))
    inputs = foreign.images(foreign.vit())
    torch.testing.assert_close(
        foreign.logits(network, inputs), foreign.logits(theirs, inputs), atol=1e-4, rtol=1e-4
    )


def test_gsam_weights_without_a_class_token_load_where_there_is_none(tmp_path: Path) -> None:
    spec = foreign.vit(architecture="vit_base_patch16_gap_224")
    gap = foreign.random_network(spec)
    path = foreign.save_google(tmp_path / "gsam.npz", dict(gap.state_dict()))
    network, _ = foreign.loaded(path, spec)
    foreign.assert_same(network, gap)
    foreign.refused(path, r"no class token.*--model vit-base-gap")


def test_google_hybrids_have_the_names_of_timms() -> None:
    """R50+ViT-B/16, name by name and shape by shape, in the way that Google's file has them."""
    narrow = {"embed_dim": 48, "depth": 1, "num_heads": 3}
    network = timm.create_model("vit_base_r50_s16_224", num_classes=7, **narrow)
    backbone = {n: v for n, v in network.state_dict().items() if n.startswith("patch_embed.")}
    theirs = {_as_google(name): _turned(value) for name, value in backbone.items()}
    assert {"conv_root/kernel", "gn_root/scale", "block1/unit1/conv_proj/kernel"} <= theirs.keys()
    turned = in_timms_names(ReadWeights(Path(), "", theirs)).tensors
    assert turned.keys() == backbone.keys()
    for name, value in backbone.items():
        torch.testing.assert_close(turned[name], value)


def _as_google(name: str) -> str:
    *parts, leaf = name.removeprefix("patch_embed.").removeprefix("backbone.").split(".")
    if parts == ["proj"]:
        return f"embedding/{'kernel' if leaf == 'weight' else leaf}"
    is_norm = "norm" in parts[-1]
    kind, weight = ("gn", "scale") if is_norm else ("conv", "kernel")
    leaf = weight if leaf == "weight" else leaf
    if parts[0] == "stem":
        return f"{kind}_root/{leaf}"
    which = "_proj" if parts[4] == "downsample" else parts[4][-1]
    return f"block{int(parts[1]) + 1}/unit{int(parts[3]) + 1}/{kind}{which}/{leaf}"


def _turned(value: torch.Tensor) -> torch.Tensor:
    return value.permute(2, 3, 1, 0) if value.ndim == 4 else value.reshape(1, 1, 1, -1)


# --- what trainings and libraries put around the names


@pytest.mark.parametrize("naming", ["timm", "huggingface"])
@pytest.mark.parametrize(
    ("wrapper", "prefix"),
    [
        ("", ""),
        ("state_dict", "model."),
        ("model", "module."),
        ("", "net.backbone."),
        ("model_state_dict", "_orig_mod."),
        ("state_dict", "module._orig_mod."),
        ("", "encoder."),
    ],
)
def test_a_fine_tuned_state_dict_is_complete_however_it_was_saved(  # noqa: PLR0917
    source: nn.Module, weights: Weights, tmp_path: Path, naming: str, wrapper: str, prefix: str
) -> None:
    named = weights if naming == "timm" else foreign.to_huggingface(weights)
    saved: dict[str, Any] = {prefix + name: value for name, value in named.items()}
    if wrapper:
        saved = {wrapper: saved, "epoch": 3, "optimizer": {"state": {}, "param_groups": []}}
    network, report = foreign.loaded(foreign.save_torch(tmp_path / "vit_fer2013.pth", saved))
    foreign.assert_same(network, source)
    assert (report.kind, report.new) == (naming, ())


@pytest.mark.parametrize(
    "head", ["head.1", "classifier.1", "fc", "model.head", "heads.0", "emotion", "mlp_head.2", "1"]
)
def test_a_head_of_another_name_is_the_head(
    weights: Weights, source: nn.Module, tmp_path: Path, head: str
) -> None:
    named = {
        name.replace("head", head) if name.startswith("head.") else f"model.backbone.{name}": value
        for name, value in weights.items()
    }
    network, _ = foreign.loaded(foreign.save_torch(tmp_path / "x.pth", named))
    foreign.assert_same(network, source)


def test_files_of_old_torch_and_averaged_models_load(
    source: nn.Module, weights: Weights, tmp_path: Path
) -> None:
    averaged = {f"module.{name}": value for name, value in weights.items()}
    averaged["n_averaged"] = torch.tensor(5)
    path = foreign.save_torch(tmp_path / "old.pt", averaged, _use_new_zipfile_serialization=False)
    network, found = foreign.loaded(path)
    assert found.ignored == ("n_averaged",)
    foreign.assert_same(network, source)


def test_half_precision_weights_load_and_their_overflowed_counters_do_not(tmp_path: Path) -> None:
    spec = ModelSpec(NetworkSpec("mobilenetv3_small_050"), InputSpec(32, 32))
    source = build(spec)
    source.state_dict()["bn1.num_batches_tracked"].fill_(100_000)
    halved = {name: value.half() for name, value in source.state_dict().items()}
    assert not math.isfinite(halved["bn1.num_batches_tracked"])
    network, _ = foreign.loaded(foreign.save_torch(tmp_path / "x.pth", halved), spec)
    ours = network.state_dict()
    torch.testing.assert_close(ours["conv_stem.weight"], halved["conv_stem.weight"].float())
    assert ours["bn1.num_batches_tracked"] == 0


def test_a_layer_of_another_width_is_no_head(weights: Weights, tmp_path: Path) -> None:
    named = {name.replace("head", "emotion"): value for name, value in weights.items()}
    named["emotion.weight"] = torch.ones(7, foreign.WIDTH * 2)
    path = foreign.save_torch(tmp_path / "x.pth", named)
    foreign.refused(path, r"surplus: emotion\.bias, emotion\.weight")


@pytest.mark.parametrize("head", ["head", "head.1", "emotion"])
def test_what_stands_around_the_network_is_ignored_and_told(
    weights: Weights, source: nn.Module, tmp_path: Path, head: str
) -> None:
    named = {f"model.{name.replace('head', head)}": value for name, value in weights.items()}
    named |= {"criterion.weight": torch.ones(7), "epoch": torch.tensor(3)}
    network, found = foreign.loaded(foreign.save_torch(tmp_path / "x.ckpt", {"state_dict": named}))
    foreign.assert_same(network, source)
    assert found.ignored == ("criterion.weight", "epoch")
    assert "ignored: criterion.weight, epoch" in found.describe()


def test_two_whole_networks_are_not_chosen_between(weights: Weights, tmp_path: Path) -> None:
    named = {f"{part}.{name}": v for part in ("student", "teacher") for name, v in weights.items()}
    path = foreign.save_torch(tmp_path / "x.pth", named)
    foreign.refused(path, "2 networks, .* 'student' and 'teacher'; save")


def test_a_layer_between_the_network_and_its_head_is_not_ignored(
    weights: Weights, tmp_path: Path
) -> None:
    named = {
        name if name.startswith("head.") else f"backbone.{name}": value
        for name, value in weights.items()
    }
    named["neck.weight"] = torch.ones(foreign.WIDTH, foreign.WIDTH)
    foreign.refused(foreign.save_torch(tmp_path / "x.pth", named), r"surplus: neck\.weight")


def test_weights_in_8_bit_floats_load(weights: Weights, tmp_path: Path) -> None:
    stored = weights | {"head.weight": weights["head.weight"].to(torch.float8_e4m3fn)}
    network, _ = foreign.loaded(foreign.save_torch(tmp_path / "x.pth", stored))
    assert torch.equal(network.get_parameter("head.weight"), stored["head.weight"].float())


def test_names_of_another_network_stay_as_they_are(tmp_path: Path) -> None:
    save_file({"a.b.weight": torch.zeros(3)}, tmp_path / "x.safetensors")
    assert "a.b.weight" in foreign.refused(tmp_path / "x.safetensors", "surplus")
