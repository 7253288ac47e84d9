"""Weights that were trained elsewhere become checkpoints of ours without training."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fer_edge import LABELS
from fer_edge.artifacts.record import encode
from fer_edge.errors import ArtifactError
from fer_edge.torch_model import checkpoint
from fer_train.cli import main
from fer_train.presets import change, preset
from fer_train.pretrained.conversion import ALPHABETICAL, import_weights
from fer_train.recipe import Recipe

Weights = dict[str, torch.Tensor]


@pytest.fixture
def recipe(foreign: Any) -> Recipe:
    """The network and input of the small ViT."""
    spec = foreign.vit()
    settings = {"network": encode(spec.network), "input": encode(spec.input)}
    return change(preset("mobilenet"), settings, "test")


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "vit.toml"
    path.write_text(
        'model = "vit_tiny_patch16_224"\n'
        "[network.arguments]\n"
        "img_size = 32\npatch_size = 8\nembed_dim = 32\ndepth = 2\nnum_heads = 4\n"
        "[input]\nheight = 32\nwidth = 32\nmean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]\n"
    )
    return path


def test_a_state_dict_becomes_a_checkpoint_that_answers_alike(
    foreign: Any, source: nn.Module, weights: Weights, recipe: Recipe, tmp_path: Path
) -> None:
    path = foreign.save_torch(tmp_path / "vit_fer2013.pth", weights)
    converted = import_weights(str(path), recipe, tmp_path / "x.safetensors")
    network, spec = checkpoint.load(tmp_path / "x.safetensors")
    foreign.assert_same(network, source)
    assert converted.report is None
    assert spec.input == recipe.input
    assert spec.provenance.parent_sha256 == converted.weights.sha256
    assert spec.provenance.training_run == f"imported-{converted.weights.sha256[:16]}"


def test_the_command_measures_it_and_stores_its_temperature(  # noqa: PLR0917
    foreign: Any,
    weights: Weights,
    recipe_file: Path,
    tiny_fer2013: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = foreign.save_torch(tmp_path / "x.pth", foreign.in_alphabetical_order(weights))
    out, told = tmp_path / "x.safetensors", tmp_path / "told.json"
    command = ["import", "--weights", str(path), "--recipe", str(recipe_file), "--out", str(out)]
    labels = ["--labels", "angry,disgust,fear,happy,neutral,sad,surprise"]
    assert main([*command, *labels, "--data", str(tiny_fer2013), "--json", str(told)]) == 0
    report = json.loads(told.read_text())["report"]
    assert (report["use"], report["scores"]["n"], report["history"]) == ("measured on", 21, None)
    assert checkpoint.read_spec(out).temperature == report["temperature"]
    assert "public-test (measured on)" in capsys.readouterr().out
    assert main([*command, *labels, "--half", "--json", str(told)]) == 0
    assert json.loads(told.read_text()) == {
        "schema": "fer-train-import/1",
        "weights": str(out),
        "report": None,
    }
    assert checkpoint.read_spec(out).precision == "fp16"


def test_a_head_of_other_classes_has_to_be_trained(
    foreign: Any, weights: Weights, recipe: Recipe, tmp_path: Path
) -> None:
    bare = {name: value for name, value in weights.items() if not name.startswith("head.")}
    path = foreign.save_torch(tmp_path / "x.pth", bare)
    with pytest.raises(ArtifactError, match=r"head\.weight, head\.bias.*fer-train --init"):
        import_weights(str(path), recipe, tmp_path / "x.safetensors")
    assert not (tmp_path / "x.safetensors").exists()


def with_one_sad_picture(source: Path, target: Path) -> Path:
    with zipfile.ZipFile(source) as whole, zipfile.ZipFile(target, "w") as part:
        for name in whole.namelist():
            if not name.startswith("test/sad/") or "00000" in name:
                part.writestr(name, whole.read(name))
    return target


def test_an_order_of_classes_that_does_better_is_told(
    foreign: Any,
    recipe: Recipe,
    tiny_fer2013: Path,
    tmp_path: Path,
) -> None:
    """A network that always says what stands at index 4: sad to us, neutral to ImageFolder."""
    network = foreign.random_network(foreign.vit())
    with torch.no_grad():
        network.get_parameter("head.weight").zero_()
        network.get_parameter("head.bias").copy_(torch.eye(7)[4])
    path = str(foreign.save_torch(tmp_path / "x.pth", dict(network.state_dict())))
    out = tmp_path / "x.safetensors"
    assert ALPHABETICAL[4] == "neutral"
    assert LABELS[4] == "sad"
    kept = with_one_sad_picture(tiny_fer2013, tmp_path / "less.zip")
    converted = import_weights(path, recipe, out, data=kept)
    assert converted.report is not None
    assert converted.report.scores.accuracy == pytest.approx(1 / 19)
    assert converted.accuracy_if_alphabetical == pytest.approx(3 / 19)
    assert converted.looks_alphabetical
    told = import_weights(path, recipe, out, data=kept, labels=ALPHABETICAL)
    assert told.accuracy_if_alphabetical is None
    assert not told.looks_alphabetical
