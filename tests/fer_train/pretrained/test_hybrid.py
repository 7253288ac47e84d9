"""A dense network's first stages as the stem of a ViT."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fer_edge.artifacts.spec import InputSpec, ModelSpec, NetworkSpec, Provenance
from fer_edge.errors import ArtifactError
from fer_edge.torch_model import checkpoint
from fer_edge.torch_model.network import build
from fer_train.pretrained import load_initial

SIZE = InputSpec(48, 48)
VIT = ModelSpec(NetworkSpec("fer_vit", arguments={"width": 8, "depth": 1}), SIZE)


def dense(path: Path, width: int) -> torch.nn.Module:
    spec = ModelSpec(
        NetworkSpec("fer_dense", arguments={"width": width}),
        SIZE,
        provenance=Provenance(started_from="a package 1.0, MIT"),
    )
    network = build(spec).eval()
    checkpoint.save(path, network.state_dict(), spec)
    return network


def test_the_stem_computes_what_the_first_stages_do(tmp_path: Path) -> None:
    path = tmp_path / "dense.safetensors"
    known, vit = dense(path, 8), build(VIT).eval()
    found = load_initial(vit, VIT, str(path))
    pixels = torch.randn(2, 1, 48, 48)
    expected = known.get_submodule("stages")[:4](pixels)
    assert torch.equal(vit.get_submodule("patch_embed.backbone")(pixels), expected)
    assert all(name.startswith("patch_embed.backbone.stages.") for name in found.loaded)
    assert "blocks.0.attn.qkv.weight" in found.new
    assert "head.fc.weight" in found.ignored
    assert not found.is_complete
    assert found.started_from == "a package 1.0, MIT"


def test_another_width_is_refused_with_both_named(tmp_path: Path) -> None:
    path = tmp_path / "dense.safetensors"
    dense(path, 16)
    with pytest.raises(ArtifactError, match=r"\(16, 1, 3, 3\), and the stem takes \(8, 1, 3, 3\)"):
        load_initial(build(VIT), VIT, str(path))
