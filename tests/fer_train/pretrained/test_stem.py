"""First layers that are worked out from others, or taken over."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from timm.layers import Conv2dSame
from torch import nn
from torch.nn import functional

from fer_edge.artifacts.spec import InputSpec, ModelSpec, NetworkSpec, Provenance
from fer_edge.errors import ArtifactError
from fer_edge.torch_model import checkpoint
from fer_edge.torch_model.network import build
from fer_train.pretrained import load_initial, read_source
from fer_train.pretrained.stem import enlarging_stem, gray_stem


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))


def test_stride_1_on_the_small_picture_is_stride_2_on_the_enlarged_one(
    pixels: torch.Tensor,
) -> None:
    torch.manual_seed(1)
    original = Conv2dSame(3, 8, 3, stride=2, bias=False)
    enlarged = functional.interpolate(pixels, scale_factor=2, mode="bilinear", align_corners=False)
    expected = original(enlarged)
    came = functional.conv2d(pixels, enlarging_stem(original.weight), padding=1)
    inside = (..., slice(1, -1), slice(1, -1))
    assert came.shape == expected.shape
    assert torch.allclose(came[inside], expected[inside], atol=1e-5)
    assert not torch.allclose(functional.conv2d(pixels, original.weight, padding=1), expected)


def test_a_gray_plane_is_seen_as_three_equal_ones(pixels: torch.Tensor) -> None:
    kernel, mean = torch.randn(8, 3, 3, 3), (0.2, 0.5, 0.6)
    gray = pixels[:, :1]
    planes = (gray.expand(-1, 3, -1, -1)) - torch.tensor(mean).view(1, 3, 1, 1)
    expected = functional.conv2d(planes, kernel)
    folded, added = gray_stem(kernel, mean, 0.4)
    came = functional.conv2d(gray - 0.4, folded) + added.view(1, -1, 1, 1)
    assert folded.shape == (8, 1, 3, 3)
    assert torch.allclose(came, expected, atol=1e-4)


# --- a dense network's first stages as the stem of a ViT

SIZE = InputSpec(48, 48)
VIT = ModelSpec(NetworkSpec("fer_vit", arguments={"width": 8, "depth": 1}), SIZE)


def dense(path: Path, width: int) -> nn.Module:
    known = Provenance(started_from="a package 1.0, MIT")
    arguments = {"width": width}
    spec = ModelSpec(NetworkSpec("fer_dense", arguments=arguments), SIZE, provenance=known)
    network = build(spec).eval()
    checkpoint.save(path, network.state_dict(), spec)
    return network


def test_the_stem_computes_what_the_first_stages_do(tmp_path: Path) -> None:
    path = tmp_path / "dense.safetensors"
    known, vit = dense(path, 8), build(VIT).eval()
    found = load_initial(vit, VIT, read_source(str(path)))
    pixels = torch.randn(2, 1, 48, 48)
    expected = known.get_submodule("stages")[:4](pixels)
    assert torch.equal(vit.get_submodule("patch_embed.backbone")(pixels), expected)
    assert all(name.startswith("patch_embed.backbone.stages.") for name in found.loaded)
    assert "blocks.0.attn.qkv.weight" in found.new
    assert "head.fc.weight" in found.ignored
    assert not found.is_complete
    assert found.started_from == "a package 1.0, MIT"


def test_another_width_is_refused_with_both_named(tmp_path: Path) -> None:
    dense(tmp_path / "dense.safetensors", 16)
    given = read_source(str(tmp_path / "dense.safetensors"))
    with pytest.raises(ArtifactError, match=r"\(16, 1, 3, 3\) for \(8, 1, 3, 3\).* Set width"):
        load_initial(build(VIT), VIT, given)
