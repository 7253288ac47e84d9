"""Weights that were trained elsewhere become checkpoints of ours without training."""

from __future__ import annotations

import json
import shlex
import shutil
import zipfile
from pathlib import Path

import foreign_weights as foreign
import pytest
import timm
import torch
from foreign_weights import Weights
from timm.models import save_for_hf
from torch import nn

from fer_edge import LABELS
from fer_edge.artifacts.record import encode
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.errors import ArtifactError, ConfigurationError
from fer_edge.torch_model import checkpoint
from fer_train.cli import main
from fer_train.presets import change, preset
from fer_train.pretrained.beside import (
    network_beside,
    read_timms_config,
    with_normalisation_beside,
)
from fer_train.pretrained.conversion import ALPHABETICAL, import_weights
from fer_train.recipe import Recipe


@pytest.fixture
def recipe() -> Recipe:
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
    source: nn.Module, weights: Weights, recipe: Recipe, tmp_path: Path
) -> None:
    path = foreign.save_torch(tmp_path / "vit_fer2013.pth", weights)
    converted = import_weights(str(path), recipe, tmp_path / "x.safetensors", labels=LABELS)
    network, spec = checkpoint.load(tmp_path / "x.safetensors")
    foreign.assert_same(network, source)
    assert converted.report is None
    assert spec.input == recipe.input
    assert spec.provenance.parent_sha256 == converted.weights.sha256
    assert spec.provenance.training_run == f"imported-{converted.weights.sha256[:16]}"


def test_the_command_measures_it_and_stores_its_temperature(
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
    weights: Weights, recipe: Recipe, tmp_path: Path
) -> None:
    bare = {name: value for name, value in weights.items() if not name.startswith("head.")}
    path = foreign.save_torch(tmp_path / "x.pth", bare)
    with pytest.raises(
        ArtifactError, match=r"head\.weight, head\.bias.*has to be trained: fer-train --data "
    ):
        import_weights(str(path), recipe, tmp_path / "x.safetensors")
    assert not (tmp_path / "x.safetensors").exists()


def test_the_command_that_trains_headless_weights_can_be_pasted(  # noqa: PLR0917
    weights: Weights,
    recipe_file: Path,
    tiny_fer2013: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(tiny_fer2013, "fer2013.zip")
    bare = {name: value for name, value in weights.items() if not name.startswith("head.")}
    foreign.save_torch(Path("my weights.pth"), bare)
    given = ["--weights", "my weights.pth", "--recipe", recipe_file.name, "--out", "x.safetensors"]

    def told(*more: str) -> list[str]:
        assert main(["import", *given, *more]) == 2
        return shlex.split(capsys.readouterr().err.partition("has to be trained: ")[2])

    data = ["--data", "my data", "--classes", "1=sad,2=happy", "--limit", "9"]
    assert told(*data)[1:7] == data
    command, *words = told()
    assert command == "fer-train"
    assert main([*words, "--epochs", "1"]) == 0
    assert Path("x-run", "best.safetensors").is_file()


def with_one_sad_picture(source: Path, target: Path) -> Path:
    with zipfile.ZipFile(source) as whole, zipfile.ZipFile(target, "w") as part:
        sad = sorted(name for name in whole.namelist() if name.startswith("test/sad/"))
        for name in whole.namelist():
            if name not in sad[1:]:
                part.writestr(name, whole.read(name))
    return target


def test_an_order_of_classes_that_does_better_is_told(
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
    assert converted.better_if_alphabetical == pytest.approx(3 / 19)
    told = import_weights(path, recipe, out, data=kept, labels=ALPHABETICAL)
    assert told.better_if_alphabetical is None


def test_an_order_of_classes_that_nothing_tells_is_asked_for(
    weights: Weights, recipe: Recipe, tmp_path: Path
) -> None:
    path = foreign.save_torch(tmp_path / "x.pth", weights)
    with pytest.raises(ConfigurationError, match=r"name them with --labels.*or give --data"):
        import_weights(str(path), recipe, tmp_path / "x.safetensors")
    assert not (tmp_path / "x.safetensors").exists()


def test_weights_of_another_patch_size_are_no_finished_checkpoint(
    recipe: Recipe, tmp_path: Path
) -> None:
    other = foreign.random_network(foreign.vit(patch_size=4))
    path = foreign.save_torch(tmp_path / "x.pth", dict(other.state_dict()))
    with pytest.raises(ArtifactError, match=r"patch_embed\.proj\.weight.* would be resampled"):
        import_weights(str(path), recipe, tmp_path / "x.safetensors", labels=LABELS)
    assert not (tmp_path / "x.safetensors").exists()


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
def test_a_network_of_timm_keeps_its_own_size_stride_and_epsilon(name: str, tmp_path: Path) -> None:
    theirs = timm.create_model(name, num_classes=7).eval()
    path = foreign.save_torch(tmp_path / "x.pth", theirs.state_dict())
    out = tmp_path / "x.safetensors"
    assert main(["import", "--weights", str(path), "--model", name, "--labels", ",".join(LABELS),
                 "--out", str(out)]) == 0  # fmt: skip
    ours, spec = checkpoint.load(out)
    pixels = torch.rand(2, 3, *spec.input.shape[:2])
    assert torch.equal(foreign.logits(ours, pixels), foreign.logits(theirs, pixels))
    assert spec.input.mean == pytest.approx(theirs.pretrained_cfg["mean"])


def test_what_a_preset_changes_in_a_network_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = timm.create_model("mobilenetv4_conv_small", num_classes=7, in_chans=1)
    path = foreign.save_torch(tmp_path / "x.pth", network.state_dict())
    given = ["--weights", str(path), "--labels", ",".join(LABELS), "--model", "mobilenet"]
    assert main(["import", *given, "--out", str(tmp_path / "x.safetensors")]) == 0
    assert "stem_stride = 1, batch_norm_epsilon = 0.001, activation" in capsys.readouterr().err


def test_classes_of_ones_own_become_the_labels(
    weights: Weights, recipe: Recipe, tmp_path: Path
) -> None:
    three = {n: v[:3] if n.startswith("head.") else v for n, v in weights.items()}
    path = foreign.save_torch(tmp_path / "x.pth", {"model": three, "classes": ["bored", "x", "y"]})
    import_weights(str(path), recipe, tmp_path / "x.safetensors")
    assert checkpoint.read_spec(tmp_path / "x.safetensors").labels == ("bored", "x", "y")
    import_weights(str(path), recipe, tmp_path / "x.safetensors", labels=["a", "Anger", "b"])
    assert checkpoint.read_spec(tmp_path / "x.safetensors").labels == ("a", "angry", "b")


def preprocessor(folder: Path, mean: list[float], std: list[float]) -> None:
    told = {"do_normalize": True, "image_mean": mean, "image_std": std, "rescale_factor": 1 / 255}
    (folder / "preprocessor_config.json").write_text(json.dumps(told))


IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def test_another_normalisation_beside_the_weights_is_refused(
    weights: Weights, recipe: Recipe, tmp_path: Path
) -> None:
    path = foreign.save_torch(tmp_path / "pytorch_model.bin", foreign.to_huggingface(weights))
    preprocessor(tmp_path, *IMAGENET)
    with pytest.raises(ArtifactError, match=r"says mean 0\.485, 0\.456.*set up with mean 0\.5"):
        import_weights(str(path), recipe, tmp_path / "x.safetensors", labels=LABELS)
    preprocessor(tmp_path, [0.5] * 3, [0.5] * 3)
    import_weights(str(path), recipe, tmp_path / "x.safetensors", labels=LABELS)


def test_the_normalisation_beside_the_weights_is_taken_where_the_user_gave_none(
    tmp_path: Path,
) -> None:
    own = preset("vit-base").input
    assert with_normalisation_beside(str(tmp_path), own) == own
    preprocessor(tmp_path, *IMAGENET)
    (tmp_path / "model.safetensors").touch()
    assert with_normalisation_beside(str(tmp_path / "a-name-of-timm"), own) == own
    assert with_normalisation_beside("resnet18.pth", own) == own
    mae = with_normalisation_beside("timm:vit_base_patch16_224.mae", own)
    assert list(mae.mean) == pytest.approx(IMAGENET[0])
    for source in (tmp_path, tmp_path / "model.safetensors"):
        taken = with_normalisation_beside(str(source), own)
        assert (list(taken.mean), list(taken.std)) == (
            pytest.approx(IMAGENET[0]),
            pytest.approx(IMAGENET[1]),
        )


def hub_folder(folder: Path, name: str, **data: object) -> Path:
    """What timm pushes to the hub, its classes in alphabetical order."""
    sizes = {key: data.pop(key) for key in ("in_chans", "img_size") if key in data}
    network = timm.create_model(name, num_classes=7, **sizes)
    save_for_hf(network, folder, model_config={"label_names": list(ALPHABETICAL)}, data_config=data)
    return folder


def imported(folder: Path, name: str) -> ModelSpec:
    out = folder.with_suffix(".safetensors")
    assert main(["import", "--weights", str(folder), "--model", name, "--out", str(out)]) == 0
    return checkpoint.read_spec(out)


@pytest.mark.parametrize(
    ("mean", "input_size", "color"),
    [((0.5, 0.4, 0.3), (3, 96, 96), "rgb"), ((0.3,), (1, 64, 80), "gray")],
)
def test_timms_config_beside_the_weights_tells_input_and_labels(
    mean: tuple[float, ...], input_size: tuple[int, ...], color: str, tmp_path: Path
) -> None:
    std = tuple(value / 2 for value in mean)
    told = {"mean": mean, "std": std, "input_size": input_size, "in_chans": len(mean)}
    spec = imported(hub_folder(tmp_path / "hub", "test_resnet", **told), "test_resnet")
    assert (spec.input.color, spec.input.height, spec.input.width) == (color, *input_size[1:])
    assert (spec.input.mean, spec.input.std) == (pytest.approx(mean), pytest.approx(std))
    assert spec.labels == LABELS
    theirs = torch.load(tmp_path / "hub" / "pytorch_model.bin", weights_only=True)["fc.bias"]
    ours = checkpoint.load(tmp_path / "hub.safetensors")[0].get_parameter("fc.bias")
    assert torch.equal(ours, theirs[[ALPHABETICAL.index(label) for label in LABELS]])


def test_timms_config_tells_the_settings_of_its_architecture_alone(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path / "hub", "vit_tiny_patch16_224", img_size=96)
    spec = imported(folder, "vit_tiny_patch16_224")
    assert spec.network.arguments == {"img_size": 96}
    assert spec.input.shape == (96, 96, 3)
    ours = preset("resnet18").input
    assert network_beside(str(folder), "resnet18", ours) == (ours, {})


def test_a_config_of_something_else_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"mean": [0.1, 0.2, 0.3], "labels": ["a", "b"]}')
    assert read_timms_config(tmp_path / "x.pth") == {}


@pytest.mark.parametrize("size", [[3, 96], [2, 96, 96], [3, 0, 96], "large", [3, None, 96]])
def test_an_input_size_that_cannot_be_used_is_refused(size: object, tmp_path: Path) -> None:
    config = {"architecture": "resnet18", "pretrained_cfg": {"input_size": size}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ArtifactError, match=r"config\.json has no usable input_size"):
        preset("resnet18", str(tmp_path))


def with_head(weights: Weights, rows: int) -> Weights:
    one = {name: value for name, value in weights.items() if name.startswith("head.")}
    return weights | {name: torch.cat([value, value])[:rows] for name, value in one.items()}


@pytest.mark.parametrize(
    ("rows", "labels", "named"),
    [(8, None, "nothing tells their names"), (7, list("abcdef"), "6 names are told for them")],
)
def test_a_finished_head_of_other_classes_needs_their_names(  # noqa: PLR0917
    weights: Weights,
    recipe: Recipe,
    tmp_path: Path,
    rows: int,
    labels: list[str] | None,
    named: str,
) -> None:
    path = foreign.save_torch(tmp_path / "x.pth", with_head(weights, rows))
    message = f"has {rows} classes, and {named}; name all {rows} with --labels"
    with pytest.raises(ConfigurationError, match=message):
        import_weights(str(path), recipe, tmp_path / "x.safetensors", labels=labels)


@pytest.mark.parametrize("out", ["hub/x.pth", "hub/../hub/x.pth", "link.pth"])
@pytest.mark.parametrize("given", ["hub/x.pth", "hub"])
def test_a_checkpoint_never_replaces_the_weights_that_it_is_made_of(
    weights: Weights, recipe_file: Path, tmp_path: Path, given: str, out: str
) -> None:
    (tmp_path / "hub").mkdir()
    path = foreign.save_torch(tmp_path / "hub" / "x.pth", weights)
    (tmp_path / "link.pth").symlink_to(path)
    before = path.read_bytes()
    words = ["--weights", str(tmp_path / given), "--labels", ",".join(LABELS)]
    recipe = ["--recipe", str(recipe_file)]
    assert main(["import", *words, *recipe, "--out", str(tmp_path / out)]) == 2
    assert path.read_bytes() == before
