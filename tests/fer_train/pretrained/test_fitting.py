"""Another size or colour is adapted to; what does not fit is listed, and changes nothing.

Names are timm's here: whatever they were, they have been renamed before.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import foreign_weights as foreign
import numpy as np
import numpy.typing as npt
import pytest
import timm
import torch
from foreign_weights import Weights
from safetensors.torch import save_file
from torch import nn

from fer_edge.errors import ArtifactError


def bicubic(old: int, new: int) -> npt.NDArray[np.float64]:
    """Antialiased bicubic interpolation as a matrix ``(new, old)`` (Keys 1981, a = -0.5)."""
    stretch = max(old / new, 1.0)
    centres = (np.arange(new)[:, None] + 0.5) * old / new - (np.arange(old) + 0.5)
    x = np.abs(centres / stretch)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    matrix = np.where(x < 1, near, np.where(x < 2, far, 0.0))
    return matrix / matrix.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("side", [16, 48])
def test_position_embeddings_are_interpolated_to_the_image_size(
    weights: Weights, tmp_path: Path, side: int
) -> None:
    spec, new = foreign.vit(side), side // foreign.PATCH
    network, report = foreign.loaded(foreign.save_torch(tmp_path / "x.pth", weights), spec)
    given = weights["pos_embed"][0].numpy().astype(np.float64)
    matrix = bicubic(4, new)
    grid = np.einsum("ih,jw,hwd->ijd", matrix, matrix, given[1:].reshape(4, 4, foreign.WIDTH))
    expected = np.concatenate([given[:1], grid.reshape(-1, foreign.WIDTH)])
    came = network.get_parameter("pos_embed")[0].detach().numpy()
    np.testing.assert_allclose(came, expected, atol=1e-5)
    assert report.adapted == report.inexact == ("pos_embed",)
    assert foreign.logits(network, foreign.images(spec)).shape == (3, 7)


def test_patches_of_another_size_are_resampled(weights: Weights, tmp_path: Path) -> None:
    spec = foreign.vit(24, patch_size=6)
    network, report = foreign.loaded(foreign.save_torch(tmp_path / "x.pth", weights), spec)
    assert report.adapted == ("patch_embed.proj.weight",)  # 4 x 4 patches in both
    assert network.get_parameter("patch_embed.proj.weight").shape == (foreign.WIDTH, 3, 6, 6)


def test_a_gray_picture_gives_what_its_rgb_copy_gave(
    source: nn.Module, weights: Weights, tmp_path: Path
) -> None:
    spec = foreign.vit(color="gray")
    network, report = foreign.loaded(foreign.save_torch(tmp_path / "x.pth", weights), spec)
    inputs = foreign.images(spec)
    expected = foreign.logits(source, inputs.repeat(1, 3, 1, 1))
    assert torch.allclose(foreign.logits(network, inputs), expected, atol=1e-5)
    assert (report.adapted, report.inexact) == (("patch_embed.proj.weight",), ())


def test_timms_weights_of_another_architecture_start_a_gray_network(tmp_path: Path) -> None:
    rgb, spec = timm.create_model("mobilenetv3_small_050").eval(), foreign.small_cnn()
    path = foreign.save_torch(tmp_path / "pytorch_model.bin", rgb.state_dict())
    network, report = foreign.loaded(path, spec)
    assert (report.kind, report.adapted) == ("timm", ("conv_stem.weight",))
    assert set(report.new) == {"classifier.weight", "classifier.bias"}
    inputs = foreign.images(spec)
    features = cast("Any", network.eval()).forward_features(inputs)
    expected = rgb.forward_features(inputs.repeat(1, 3, 1, 1))
    assert torch.allclose(features, expected, atol=1e-4)


def test_missing_surplus_and_misshapen_are_listed(weights: Weights, tmp_path: Path) -> None:
    del weights["blocks.1.norm2.bias"]
    weights |= {"norm.weight": torch.ones(5), "extra.kernel": torch.ones(2, 2)}
    listed = r"missing: blocks\.1\.norm2\.bias; surplus: extra\.kernel; of another"
    message = foreign.refused(foreign.save_torch(tmp_path / "x.pth", weights), listed)
    assert "norm.weight (5,) for (32,)" in message


def test_a_lacking_projection_is_missing(weights: Weights, tmp_path: Path) -> None:
    named = foreign.to_huggingface(weights)
    del named["vit.encoder.layer.0.attention.attention.key.weight"]
    path = foreign.save_torch(tmp_path / "x.pth", named)
    foreign.refused(path, r"missing: blocks\.0\.attn\.qkv\.weight; sur")


def test_the_list_is_bounded(tmp_path: Path) -> None:
    many = {f"layer{'x' * 300}{i}.weight": torch.ones(2) for i in range(500)}
    path = foreign.save_torch(tmp_path / "x.pth", many)
    assert "and 495 more" in foreign.refused(path, "surplus")


def test_more_layers_or_width_do_not_fit(weights: Weights, tmp_path: Path) -> None:
    path = foreign.save_torch(tmp_path / "x.pth", weights)
    foreign.refused(path, "missing: blocks.2", foreign.vit(depth=3))
    foreign.refused(path, "surplus: blocks.1", foreign.vit(depth=1))
    foreign.refused(path, "of another shape", foreign.vit(embed_dim=64))


@pytest.mark.parametrize("value", [torch.full((32,), float("nan")), torch.ones(32).long()])
def test_what_is_no_finite_number_is_refused(
    weights: Weights, tmp_path: Path, value: torch.Tensor
) -> None:
    path = foreign.save_torch(tmp_path / "x.pth", weights | {"norm.bias": value})
    message = foreign.refused(path, "(not finite|of another type): norm.bias")
    assert ("choose the model" in message) == ("another type" in message)


def test_another_number_of_heads_is_refused_though_the_shapes_fit(
    weights: Weights, tmp_path: Path
) -> None:
    path = foreign.save_google(tmp_path / "x.npz", weights)
    foreign.refused(path, "4 attention heads", foreign.vit(num_heads=2))
    save_file(foreign.to_huggingface(weights), tmp_path / "model.safetensors")
    foreign.save_config(tmp_path, {}, heads=8)
    foreign.refused(tmp_path / "model.safetensors", "8 attention heads")


def test_what_hugging_faces_config_says_of_the_layers_is_compared(
    weights: Weights, tmp_path: Path
) -> None:
    path, config = tmp_path / "model.safetensors", tmp_path / "config.json"
    save_file(foreign.to_huggingface(weights), path)
    config.write_text('{"hidden_act": "gelu", "layer_norm_eps": 1e-12}')
    _, found = foreign.loaded(path)
    assert "layer norms compute with an epsilon of 1e-06 in place of 1e-12" in found.describe()
    config.write_text("{}")
    assert not foreign.loaded(path)[1].note
    config.write_text('{"hidden_act": "quick_gelu"}')
    with pytest.raises(ArtifactError, match="hidden_act 'quick_gelu'"):
        foreign.loaded(path)
