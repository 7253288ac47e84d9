"""Teachers answer once; students learn from what is stored as they would from the teachers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from small_training import SMALL

from fer_edge.artifacts.spec import InputSpec, ModelSpec, NetworkSpec
from fer_edge.errors import ArtifactError, ConfigurationError
from fer_edge.torch_model import checkpoint, network
from fer_train.cli import main
from fer_train.data import TrainingData, prepare
from fer_train.deadline import OUT_OF_TIME, Deadline
from fer_train.loop import LAST, Sources, Trainer
from fer_train.parallel import Execution
from fer_train.recipe import Recipe
from fer_train.stored_answers import read_answers, teach

pytestmark = pytest.mark.usefixtures("no_pictures")

CPU = Execution(device=torch.device("cpu"))
RECIPE = replace(SMALL, distillation=1.0)
GIVEN: Any = {"augmentation": RECIPE.augmentation, "how": CPU}


def stopped() -> Any:
    """The same, with time for a single view."""
    return GIVEN | {"how": replace(CPU, deadline=Deadline(0.0))}


@pytest.fixture(scope="module")
def data(tiny_fer2013: Path) -> TrainingData:
    """28 training and 21 validation drawings."""
    return prepare(tiny_fer2013)


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two, of different sizes."""
    folder, paths = tmp_path_factory.mktemp("teachers"), []
    for seed, side in ((1, 48), (2, 64)):
        spec = ModelSpec(NetworkSpec("test_efficientnet"), InputSpec(side, side))
        torch.manual_seed(seed)
        built = network.build(spec)
        torch.nn.init.normal_(built.get_parameter("classifier.weight"), std=0.5)
        paths.append(folder / f"{seed}.safetensors")
        checkpoint.save(paths[-1], built.state_dict(), spec)
    return paths


@pytest.fixture(scope="module")
def answers(
    data: TrainingData, teachers: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("taught") / "taught.safetensors"
    assert teach(data, teachers, path, views=2, seed=RECIPE.seed, **GIVEN)
    return path


def trained(recipe: Recipe, data: TrainingData, out: Path, sources: Sources) -> Trainer:
    trainer = Trainer(recipe, data, out, sources=sources, how=CPU)
    assert trainer.train()
    return trainer


def test_a_student_learns_from_stored_answers_what_it_would_from_the_teachers(
    data: TrainingData, teachers: list[Path], answers: Path, tmp_path: Path
) -> None:
    recipe = replace(RECIPE, epochs=2)
    live = trained(recipe, data, tmp_path / "live", Sources(teachers=tuple(teachers)))
    stored = trained(recipe, data, tmp_path / "stored", Sources(taught=answers))
    pairs = zip(live.state.averaged.parameters(), stored.state.averaged.parameters(), strict=True)
    assert max(float((one - other).detach().abs().max()) for one, other in pairs) < 1e-3
    assert stored.state.losses == pytest.approx(live.state.losses, abs=1e-3)


def test_an_epoch_sees_the_view_of_its_number_and_begins_again_after_the_last(
    data: TrainingData, answers: Path, tmp_path: Path
) -> None:
    recipe = replace(RECIPE, seed=7)  # of the order; the views are the file's
    trainer = Trainer(recipe, data, tmp_path, sources=Sources(taught=answers))
    seen = []
    for epoch in range(3):
        trainer.state.epoch = epoch
        seen.append(trainer._view())
    assert [number for number, _ in seen] == [0, 1, 0]
    assert torch.equal(seen[0][1], seen[2][1])
    assert not torch.equal(seen[0][1], seen[1][1])


def test_mixed_pictures_are_taught_the_mixture_of_their_answers(
    data: TrainingData, answers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(replace(RECIPE, mixup=1.0), data, tmp_path, sources=Sources(taught=answers))
    mixed: list[list[torch.Tensor]] = []

    def mix(rows: list[torch.Tensor], weight: float, generator: object) -> list[torch.Tensor]:
        mixed.append([0.25 * row + 0.75 * row.flip(0) for row in rows])
        assert 0 <= weight <= 1
        return mixed[-1]

    monkeypatch.setattr("fer_train.loop.mix", mix)
    taught: list[torch.Tensor] = []
    monkeypatch.setattr(
        "fer_train.loop.distillation_loss",
        lambda logits, told, _: taught.append(told) or logits.sum(),
    )
    trainer._one_epoch()
    assert taught
    for (_, targets, told), used in zip(mixed, taught, strict=True):
        assert torch.equal(told, used)
        assert torch.allclose(told.sum(1), torch.ones(len(told)), atol=1e-3)
        assert told.shape == targets.shape


def test_the_answers_do_not_depend_on_how_often_the_teachers_were_stopped(
    data: TrainingData, teachers: list[Path], answers: Path, tmp_path: Path
) -> None:
    path = tmp_path / "cut.safetensors"
    assert not teach(data, teachers, path, views=2, **stopped())
    assert read_answers(path).views == 1
    assert teach(data, teachers, path, views=2, **GIVEN)
    assert path.read_bytes() == answers.read_bytes()
    assert teach(data, teachers, path, views=3, **GIVEN)
    assert torch.equal(read_answers(path).logits[:2], read_answers(answers).logits)


def test_a_full_disk_keeps_the_views_that_are_whole(
    data: TrainingData, teachers: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.safetensors"
    assert teach(data, teachers, path, views=1, **GIVEN)
    before = path.read_bytes()
    with monkeypatch.context() as patch:

        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr("fer_edge.torch_model.checkpoint.write_bytes", full)
        with pytest.raises(OSError, match="No space left"):
            teach(data, teachers, path, views=2, **GIVEN)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["t.safetensors"]
    assert teach(data, teachers, path, views=2, **GIVEN)


Change = Callable[[TrainingData, Recipe], tuple[TrainingData, Recipe]]


def turned(data: TrainingData, recipe: Recipe) -> tuple[TrainingData, Recipe]:
    images = np.ascontiguousarray(data.train.images[::-1])
    return replace(data, train=replace(data.train, images=images)), recipe


def smaller(data: TrainingData, recipe: Recipe) -> tuple[TrainingData, Recipe]:
    images = np.ascontiguousarray(data.train.images[:, :40, :40])
    return replace(data, train=replace(data.train, images=images)), recipe


def shifted(data: TrainingData, recipe: Recipe) -> tuple[TrainingData, Recipe]:
    return data, replace(recipe, augmentation=replace(recipe.augmentation, shift=0.07))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (turned, r"pictures_sha256 \w+ there and \w+ here"),
        (smaller, r"shape \(48, 48, 1\) there and \(40, 40, 1\) here"),
        (shifted, r"augmentation.shift 0.1 there and 0.07 here"),
    ],
)
def test_answers_to_other_pictures_are_refused_with_both_named(
    change: Change, told: str, data: TrainingData, answers: Path, tmp_path: Path
) -> None:
    other, recipe = change(data, RECIPE)
    with pytest.raises(ConfigurationError, match=f"answers other pictures: .*{told}"):
        Trainer(recipe, other, tmp_path, sources=Sources(taught=answers))


def test_answers_of_other_teachers_are_not_continued(
    data: TrainingData, teachers: list[Path], answers: Path
) -> None:
    before = answers.read_bytes()
    with pytest.raises(ConfigurationError, match=r"teachers 1.safetensors .* there and 2.saf"):
        teach(data, teachers[1:], answers, views=3, **GIVEN)
    with pytest.raises(ConfigurationError, match="seed 0 there and 5 here"):
        teach(data, teachers, answers, views=3, seed=5, **GIVEN)
    assert answers.read_bytes() == before


def test_unfinished_answers_are_refused_with_how_far_they_are(
    data: TrainingData, teachers: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / "t.safetensors"
    assert not teach(data, teachers, path, views=4, **stopped())
    with pytest.raises(ConfigurationError, match="has 1 of 4 views; run the same fer-train teach"):
        Trainer(RECIPE, data, tmp_path / "run", sources=Sources(taught=path))


def test_teachers_and_stored_answers_at_once_are_refused(answers: Path) -> None:
    with pytest.raises(ConfigurationError, match="leave out --teacher or --taught"):
        Sources(teachers=(answers,), taught=answers)


@pytest.mark.parametrize("damage", ["missing", "text", "checkpoint", "shape", "info"])
def test_a_file_that_holds_no_answers_is_told(
    damage: str, answers: Path, teachers: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / "t.safetensors"
    if damage == "text":
        path.write_text("answers")
    elif damage == "checkpoint":
        path.write_bytes(teachers[0].read_bytes())
    elif damage != "missing":
        tensors, info = load_file(answers), read_answers(answers).info
        told = {"pictures": info.pictures} if damage == "info" else None
        header = json.loads(answers.read_bytes()[8:].partition(b"}}")[0] + b"}}")
        text = json.dumps(told) if told else header["__metadata__"]["taught"]
        cut = {"logits": tensors["logits"][:, 1:]} if damage == "shape" else tensors
        save_file({k: v.contiguous() for k, v in cut.items()}, path, {"taught": text})
    with pytest.raises(ArtifactError, match=r"fer-train teach|lacks the fields"):
        read_answers(path)


def test_the_commands_teach_and_learn(
    tiny_fer2013: Path, teachers: list[Path], recipe: Callable[..., Path], tmp_path: Path
) -> None:
    taught, told = tmp_path / "taught.safetensors", tmp_path / "told.json"
    student = ["--data", str(tiny_fer2013), "--recipe", str(recipe("mixup = 0.5", epochs=1))]
    command = ["teach", *student, "--views", "2", "--out", str(taught)]
    command += [word for path in teachers for word in ("--teacher", str(path))]
    assert main([*command, "--minutes", "0"]) == OUT_OF_TIME
    assert main([*command, "--json", str(told)]) == 0
    assert json.loads(told.read_text())["answers"]["views"] == 2
    assert main([*student, "--taught", str(taught), "--out", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run" / LAST).exists()
    history = json.loads((tmp_path / "run" / "report.json").read_text())["history"]
    assert history["teachers"] == ["1.safetensors", "2.safetensors"]
    assert history["teachers_accuracy"] == read_answers(taught).info.teachers_accuracy
