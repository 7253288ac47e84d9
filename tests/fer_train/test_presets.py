"""Presets, and files that change them."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fer_edge.artifacts.spec import ModelSpec, NetworkSpec
from fer_edge.errors import ConfigurationError, MissingDependencyError
from fer_edge.torch_model import checkpoint
from fer_edge.torch_model.network import build
from fer_train.presets import PRESETS, load_recipe, preset, read_toml

MOBILENET = PRESETS["mobilenet"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "recipe.toml"


# --- presets


def test_a_convolutional_network_of_timm_sees_fer2013_as_it_is() -> None:
    recipe = preset("mobilenetv3_small_100")
    assert recipe.input.shape == (48, 48, 1)
    assert recipe.network.stem_stride == 1


def test_a_network_of_a_fixed_size_gets_the_input_that_it_was_published_with() -> None:
    recipe = preset("vit_small_patch16_224")
    assert recipe.input.shape == (224, 224, 3)
    assert recipe.network.stem_stride is None


def test_a_pretrained_network_of_timm_sees_what_it_was_published_with() -> None:
    recipe = preset("resnet18", weights="timm:resnet18")
    assert recipe.input.shape == (224, 224, 3)
    assert recipe.input.mean == pytest.approx((0.485, 0.456, 0.406))
    assert recipe.network == NetworkSpec("resnet18")


def test_a_checkpoint_of_timms_network_keeps_its_own_input(tmp_path: Path) -> None:
    small = preset("test_resnet")
    spec = ModelSpec(small.network, small.input)
    checkpoint.save(tmp_path / "best.safetensors", build(spec).state_dict(), spec)
    again = preset("test_resnet", weights=str(tmp_path / "best.safetensors"))
    assert (again.network, again.input) == (small.network, small.input)


MOBILENETS = (
    "mobilenetv2_100",
    "mobilenetv3_small_100",
    "mobilenetv3_large_100",
    "mobilenetv4_conv_medium",
)


@pytest.mark.parametrize("name", [*PRESETS, *MOBILENETS])
def test_a_preset_can_be_built(name: str) -> None:
    recipe = preset(name)
    assert recipe.model == name
    with torch.device("meta"):
        network = build(ModelSpec(recipe.network, recipe.input))
        height, width, channels = recipe.input.shape
        assert network(torch.empty(2, channels, height, width)).shape == (2, 7)


@pytest.mark.parametrize(("name", "most"), [("mobilenet", 5e6), ("vit", 3e6)])
def test_the_small_models_are_small(name: str, most: float) -> None:
    with torch.device("meta"):
        network = build(ModelSpec(PRESETS[name].network, PRESETS[name].input))
    assert sum(p.numel() for p in network.parameters()) < most


def test_an_unknown_preset_is_told_with_the_known() -> None:
    with pytest.raises(ConfigurationError, match="unknown model 'resnet'; there are mobilenet"):
        preset("resnet")


@pytest.mark.parametrize("name", ["resnet18./../../escaped", "resnet18." + "a" * 300, "resnet18.x"])
def test_a_name_with_a_tag_that_timm_lacks_is_unknown(name: str) -> None:
    with pytest.raises(ConfigurationError, match="unknown model 'resnet18"):
        preset(name)


# --- files


def test_a_file_changes_what_it_names_and_nothing_else(file: Path) -> None:
    file.write_text('model = "mobilenet"\nepochs = 7\n[augmentation]\nflip = 0.25\n')
    changed = replace(MOBILENET.augmentation, flip=0.25)
    assert load_recipe(file) == replace(MOBILENET, epochs=7, augmentation=changed)


def test_tables_within_tables_are_changed_field_by_field(file: Path) -> None:
    file.write_text("[network]\nstem_stride = 2\n[network.arguments]\ndepth = 3\n")
    network = replace(MOBILENET.network, stem_stride=2, arguments={"depth": 3})
    assert load_recipe(file).network == network


def test_an_empty_file_is_the_default_preset(file: Path) -> None:
    file.write_text("")
    assert load_recipe(file) == MOBILENET


def test_a_whole_number_does_for_a_fraction(file: Path) -> None:
    file.write_text("learning_rate = 1\n[augmentation]\nflip = 0\n")
    assert load_recipe(file).augmentation.flip == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('model = "resnet"', "unknown model 'resnet'"),
        ("epoch = 5", r"recipe.toml has unknown fields 'epoch'; known are model, network"),
        ("[augmentation]\nflips = 1.0", r"recipe.toml.augmentation has unknown fields 'flips'"),
        ('epochs = "5"', r"recipe.toml.epochs should be of type int, not '5'"),
        (f"epochs = {'1' * 5000}", "cannot read the recipe"),
        ("epochs = 5.0", r"recipe.toml.epochs should be of type int, not 5.0"),
        ("epochs = true", r"recipe.toml.epochs should be of type int, not True"),
        ("epochs = 1979-05-27", r"recipe.toml.epochs should be of type int"),
        ("augmentation = 3", r"recipe.toml.augmentation should be of type dict, not 3"),
        ("learning_rate = nan", r"recipe.toml.learning_rate should be a finite number"),
        ("learning_rate = inf", r"recipe.toml.learning_rate should be a finite number"),
        ("epochs = 0", "recipe.toml: epochs should be .*1.*, not 0"),
        ("[augmentation]\nflip = 1.5", "augmentation: flip should be from 0 to 1, not 1.5"),
        ("[input]\nheight = 0", "recipe.toml.input: input height should be 1 to 1024, not 0"),
        ("epochs = ", "cannot read the recipe .*recipe.toml"),
        ("epochs = 1\nepochs = 2", "cannot read the recipe .*recipe.toml"),
        ("a = " + "[" * 20_000, "cannot read the recipe .*recipe.toml"),
    ],
)
def test_a_file_that_makes_no_sense_is_told(text: str, message: str, file: Path) -> None:
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        load_recipe(file)


def test_a_file_that_is_not_there_or_no_text_is_told(file: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        load_recipe(file)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match=r"cannot read the recipe .*recipe\.toml"):
        load_recipe(file)


def test_a_recipe_that_is_not_there_is_named_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as told:
        load_recipe(tmp_path / "none.toml")
    path = tmp_path / "none.toml"
    assert str(told.value) == f"cannot read the recipe {path}: No such file or directory"


def test_without_a_reader_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Python 3.10, which has none of its own."""
    monkeypatch.setattr(sys, "version_info", (3, 10, 13))
    monkeypatch.setitem(sys.modules, "tomli", None)
    with pytest.raises(MissingDependencyError, match=r"tomli .* pip install 'fer-edge\[train\]'"):
        read_toml(tmp_path / "x.toml", "the recipe")
