"""The training loop: resumable to the bit, and safe when the loss breaks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fer_edge import checkpoint
from fer_edge.errors import DivergedError
from fer_edge.spec import InputSpec, NetworkSpec
from fer_train.data import TrainingData, prepare
from fer_train.evaluation import logits_of
from fer_train.journal import METRICS
from fer_train.loop import BEST, LAST, Sources, Trainer, run_id
from fer_train.recipe import Recipe

RECIPE = Recipe(
    model="test",
    network=NetworkSpec("mobilenetv3_small_050", stem_stride=1),
    input=InputSpec(48, 48),
    epochs=4,
    batch_size=8,
    mixup=0.5,
    warmup_epochs=1,
    batch_norm_crops=16,
)


@pytest.fixture(scope="module")
def data(tiny_fer2013: Path) -> TrainingData:
    """28 training and 21 validation drawings."""
    return prepare(tiny_fer2013)


class PowerCutError(Exception):
    """Stands for whatever ends a process in the middle of an epoch."""


def test_an_interrupted_training_ends_in_the_same_weights(
    data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Trainer(RECIPE, data, tmp_path / "whole").train()
    interrupted = Trainer(RECIPE, data, tmp_path / "cut")
    steps = 0
    real_step = interrupted._one_step

    def step(batch: torch.Tensor, draws: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal steps
        steps += 1
        if steps == 2 * interrupted.steps + 2:  # in the middle of the third epoch
            raise PowerCutError
        return real_step(batch, draws)

    monkeypatch.setattr(interrupted, "_one_step", step)
    with pytest.raises(PowerCutError):
        interrupted.train()
    Trainer(RECIPE, data, tmp_path / "cut").train()
    for file in (LAST, BEST):
        whole, cut = ((tmp_path / name / file).read_bytes() for name in ("whole", "cut"))
        assert whole == cut, file
    epochs = [
        json.loads(x)["epoch"] for x in (tmp_path / "cut" / METRICS).read_text().split("\n") if x
    ]
    assert epochs == [1, 2, 3, 4]


def test_another_seed_ends_in_other_weights(data: TrainingData, tmp_path: Path) -> None:
    for seed in (0, 1):
        Trainer(replace(RECIPE, epochs=1, seed=seed), data, tmp_path / str(seed)).train()
    first, second = ((tmp_path / name / LAST).read_bytes() for name in ("0", "1"))
    assert first != second


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_state(
    data: TrainingData, tmp_path: Path
) -> None:
    trainer = Trainer(replace(RECIPE, epochs=2), data, tmp_path)
    trainer._one_epoch()
    kept = (tmp_path / LAST).read_bytes()
    with torch.no_grad():
        next(trainer.state.network.parameters()).fill_(float("nan"))
    with pytest.raises(DivergedError, match="batch 0 of epoch 2/2"):
        trainer._one_epoch()
    assert (tmp_path / LAST).read_bytes() == kept


def test_evaluation_does_not_disturb_the_training_network(
    data: TrainingData, tmp_path: Path
) -> None:
    trainer = Trainer(RECIPE, data, tmp_path)
    before = {k: v.clone() for k, v in trainer.state.network.state_dict().items()}
    trainer._evaluate()
    after = trainer.state.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_logits_do_not_depend_on_the_batch(data: TrainingData, tmp_path: Path) -> None:
    trainer = Trainer(RECIPE, data, tmp_path)
    network, validation = trainer.state.network, data.validation
    chosen = validation.labels == 2
    whole = logits_of(network, trainer.spec, validation)
    part = logits_of(network, trainer.spec, validation.take(chosen))
    assert whole.shape == (21, 7)
    np.testing.assert_allclose(whole[chosen], part, atol=1e-5)


def test_a_student_learns_from_its_teacher(data: TrainingData, tmp_path: Path) -> None:
    """With nothing but the teacher in the loss, wrong labels do no harm."""
    Trainer(RECIPE, data, tmp_path / "teacher").train()
    sources = Sources(teachers=(tmp_path / "teacher" / BEST,))
    recipe = replace(RECIPE, distillation=1.0, mixup=0.0)
    labelled = Trainer(recipe, data, tmp_path / "a", sources=sources)
    wrong = replace(data, targets=np.roll(data.targets, 1, axis=1))
    mislabelled = Trainer(recipe, wrong, tmp_path / "b", sources=sources)
    for trainer in (labelled, mislabelled):
        trainer._one_epoch()
    pairs = zip(
        labelled.state.network.parameters(), mislabelled.state.network.parameters(), strict=True
    )
    assert all(torch.equal(a, b) for a, b in pairs)


def test_training_starts_from_the_weights_that_were_given(
    data: TrainingData, tmp_path: Path
) -> None:
    Trainer(replace(RECIPE, epochs=1), data, tmp_path / "first").train()
    best = tmp_path / "first" / BEST
    second = Trainer(RECIPE, data, tmp_path / "second", sources=Sources(initial=str(best)))
    trained, _ = checkpoint.load(best)
    given = second.state.network.state_dict()
    assert all(torch.equal(given[k], v) for k, v in trained.state_dict().items())


def test_the_name_of_a_run_tells_its_sources_apart(data: TrainingData, tmp_path: Path) -> None:
    (tmp_path / "t.safetensors").write_bytes(b"some weights")
    names = {
        run_id(RECIPE, data, None, ()),
        run_id(RECIPE, data, None, [tmp_path / "t.safetensors"]),
        run_id(RECIPE, data, "0" * 64, ()),
        run_id(replace(RECIPE, seed=1), data, None, ()),
    }
    assert len(names) == 4


def test_logit_adjustment_favours_rare_classes_in_the_logits(
    data: TrainingData, tmp_path: Path
) -> None:
    plain = Trainer(RECIPE, data, tmp_path)
    adjusted = Trainer(replace(RECIPE, logit_adjustment=1.0), data, tmp_path)
    adjusted.log_priors = torch.log(torch.tensor([0.4, 0.01, 0.1, 0.2, 0.1, 0.09, 0.1]))
    images, targets = torch.zeros(1), torch.eye(7)
    logits = torch.zeros(7, 7)
    rare, common = targets[1:2], targets[:1]

    def loss(trainer: Trainer, target: torch.Tensor) -> float:
        return float(trainer._loss(logits[:1], images, target))

    assert loss(adjusted, rare) > loss(plain, rare)
    assert loss(adjusted, common) < loss(plain, common)


@pytest.mark.long
def test_a_compiled_step_computes_the_same(data: TrainingData, tmp_path: Path) -> None:
    """Without dropout, whose random numbers a compiled step draws in its own way."""
    losses = []
    for compiled in (False, True):
        trainer = Trainer(
            replace(RECIPE, mixup=0.0, dropout=0.0), data, tmp_path, compiled=compiled
        )
        trainer.forward.train()
        _, draws = trainer._generators()
        batch = torch.arange(8)
        losses.append([float(trainer._one_step(batch, draws)[0]) for _ in range(3)])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)
