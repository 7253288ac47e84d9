"""Where a training starts: checkpoints of ours, and names of timm's."""

from __future__ import annotations

from pathlib import Path

import foreign_weights as foreign
import pytest
import torch
from foreign_weights import Weights
from safetensors.torch import save_file

from fer_edge import LABELS
from fer_edge.torch_model import checkpoint
from fer_train.pretrained import read_source


def test_a_checkpoint_of_ours_gives_the_same_logits(tmp_path: Path) -> None:
    spec = foreign.small_cnn()
    source = foreign.random_network(spec)
    checkpoint.save(tmp_path / "best.safetensors", source.state_dict(), spec)
    network, report = foreign.loaded(tmp_path / "best.safetensors", spec)
    inputs = foreign.images(spec)
    assert torch.equal(foreign.logits(network, inputs), foreign.logits(source, inputs))
    assert (report.kind, report.labels, report.new) == ("checkpoint", LABELS, ())


def test_a_gray_checkpoint_of_ours_starts_an_rgb_network(tmp_path: Path) -> None:
    gray, rgb = foreign.vit(color="gray"), foreign.vit(48)
    source = foreign.random_network(gray)
    checkpoint.save(tmp_path / "best.safetensors", source.state_dict(), gray)
    _, report = foreign.loaded(tmp_path / "best.safetensors", rgb)
    assert set(report.adapted) == {"pos_embed", "patch_embed.proj.weight"}
    same_size, _ = foreign.loaded(tmp_path / "best.safetensors")
    inputs = foreign.images(gray)
    copies = inputs.repeat(1, 3, 1, 1)
    assert torch.allclose(
        foreign.logits(same_size, copies), foreign.logits(source, inputs), atol=1e-5
    )


def test_a_checkpoint_of_another_architecture_is_named(tmp_path: Path) -> None:
    spec = foreign.small_cnn()
    checkpoint.save(tmp_path / "best.safetensors", foreign.random_network(spec).state_dict(), spec)
    foreign.refused(tmp_path / "best.safetensors", "a checkpoint of mobilenetv3_small_050")


def test_a_checkpoint_with_other_heads_is_refused_though_its_shapes_fit(tmp_path: Path) -> None:
    other = foreign.vit(num_heads=2)
    checkpoint.save(
        tmp_path / "best.safetensors", foreign.random_network(other).state_dict(), other
    )
    foreign.refused(tmp_path / "best.safetensors", "'num_heads': 2")


def test_the_state_of_a_training_is_no_checkpoint(tmp_path: Path) -> None:
    tensors = {"network.head.bias": torch.ones(7), "averaged.module.head.bias": torch.ones(7)}
    save_file(tensors, tmp_path / "last.safetensors", metadata={"state": "{}"})
    foreign.refused(tmp_path / "last.safetensors", r"best\.safetensors")


@pytest.mark.parametrize(
    "name", ["timm:vit_tiny_patch16_224.augreg_in21k", "vit_tiny_patch16_224", "timm:resnet10t"]
)
def test_a_name_of_timms_is_fetched(weights: Weights, tmp_path: Path, name: str) -> None:
    asked = []

    def fetch(wanted: str) -> Path:
        asked.append(wanted)
        return foreign.save_torch(tmp_path / "x.bin", weights)

    found = read_source(name, fetch)
    assert asked == [name.removeprefix("timm:")]
    assert (found.path, found.tensors.keys()) == (tmp_path / "x.bin", weights.keys())
