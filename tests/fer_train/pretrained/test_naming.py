"""Every naming of a ViT's weights gives the logits of the network that they are of."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import foreign_weights as foreign
import numpy as np
import pytest
import torch
from foreign_weights import Weights
from safetensors.torch import save_file
from torch import nn

from fer_edge.torch_model import checkpoint
from fer_train.pretrained import load_initial


@pytest.mark.parametrize("prefix", ["", "opt/target/", "params/"])
def test_googles_npz_gives_the_same_logits(
    source: nn.Module, weights: Weights, tmp_path: Path, prefix: str
) -> None:
    path = foreign.save_google(tmp_path / "ViT-B_16.npz", weights, prefix)
    network, report = foreign.loaded(path)
    foreign.assert_same(network, source)
    assert (report.kind, report.is_complete, report.adapted) == ("google", True, ())
    assert set(report.loaded) == set(network.state_dict())


def test_a_training_kept_beside_googles_weights_is_left_out(
    source: nn.Module, weights: Weights, tmp_path: Path
) -> None:
    arrays = {"opt/target/" + name: array for name, array in foreign.to_google(weights).items()}
    arrays |= {"opt/state/step": np.array(3), "opt/state/head/bias/grad_ema": np.zeros(7)}
    with (tmp_path / "x.npz").open("wb") as stream:
        np.savez(stream, **arrays)
    network, found = foreign.loaded(tmp_path / "x.npz")
    assert found.is_complete
    foreign.assert_same(network, source)


def test_googles_npz_gives_what_timms_own_reader_gives(weights: Weights, tmp_path: Path) -> None:
    path = foreign.save_google(tmp_path / "ViT-B_16.npz", weights)
    network, theirs = foreign.fresh(foreign.vit()), foreign.fresh(foreign.vit())
    load_initial(network, foreign.vit(), str(path))
    cast("Any", theirs).load_pretrained(str(path))
    expected = theirs.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("prefix", ["vit.", ""])
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_hugging_faces_files_give_the_same_logits(
    source: nn.Module, weights: Weights, tmp_path: Path, prefix: str, name: str
) -> None:
    named = foreign.to_huggingface(weights, prefix)
    named[prefix + "pooler.dense.weight"] = torch.ones(foreign.WIDTH, foreign.WIDTH)
    path = tmp_path / name
    if path.suffix == ".safetensors":
        save_file(named, path, metadata={"format": "pt"})
    else:
        torch.save(named, path)
    network, report = foreign.loaded(path)
    foreign.assert_same(network, source)
    assert report.kind == "huggingface"
    assert report.is_complete
    assert report.ignored == ("pooler.dense.weight",)


@pytest.mark.parametrize("naming", ["timm", "huggingface"])
@pytest.mark.parametrize(
    ("wrapper", "prefix"),
    [
        ("", ""),
        ("state_dict", ""),
        ("model", "module."),
        ("model_state_dict", "_orig_mod."),
        ("state_dict", "module._orig_mod."),
    ],
)
def test_a_fine_tuned_state_dict_is_complete_however_it_was_saved(  # noqa: PLR0917
    source: nn.Module,
    weights: Weights,
    tmp_path: Path,
    naming: str,
    wrapper: str,
    prefix: str,
) -> None:
    named = weights if naming == "timm" else foreign.to_huggingface(weights)
    saved: dict[str, Any] = {prefix + name: value for name, value in named.items()}
    if wrapper:
        saved = {wrapper: saved, "epoch": 3, "optimizer": {"state": {}, "param_groups": []}}
    path = foreign.save_torch(tmp_path / "vit_fer2013.pth", saved)
    network, report = foreign.loaded(path)
    foreign.assert_same(network, source)
    assert (report.kind, report.new) == (naming, ())
    checkpoint.save(tmp_path / "ours.safetensors", network.state_dict(), foreign.vit())
    foreign.assert_same(checkpoint.load(tmp_path / "ours.safetensors")[0], source)


def test_files_of_old_torch_and_averaged_models_load(
    source: nn.Module, weights: Weights, tmp_path: Path
) -> None:
    averaged = {f"module.{name}": value for name, value in weights.items()}
    averaged["n_averaged"] = torch.tensor(5)
    path = foreign.save_torch(tmp_path / "old.pt", averaged, _use_new_zipfile_serialization=False)
    network, found = foreign.loaded(path)
    assert found.ignored == ("n_averaged",)
    foreign.assert_same(network, source)


def test_half_precision_weights_load(source: nn.Module, weights: Weights, tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    save_file({name: value.half() for name, value in weights.items()}, path)
    network, _ = foreign.loaded(path)
    assert all(value.dtype == torch.float32 for value in network.state_dict().values())
    inputs = foreign.images(foreign.vit())
    assert torch.allclose(
        foreign.logits(network, inputs), foreign.logits(source, inputs), atol=0.05
    )


def test_gsam_weights_without_a_class_token_load_where_there_is_none(tmp_path: Path) -> None:
    spec = foreign.vit(architecture="vit_base_patch16_gap_224")
    gap = foreign.random_network(spec)
    weights = dict(gap.state_dict()) | {"cls_token": torch.zeros(1, 1, foreign.WIDTH)}
    arrays = foreign.to_google(weights)
    del arrays["cls"]
    with (tmp_path / "gsam.npz").open("wb") as stream:
        np.savez(stream, **arrays)
    network, _ = foreign.loaded(tmp_path / "gsam.npz", spec)
    foreign.assert_same(network, gap)
    foreign.refused(tmp_path / "gsam.npz", r"no class token.*--model vit-base-gap")
