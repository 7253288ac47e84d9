"""The training loop: resumable to the bit, and safe when the loss breaks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fer_edge.spec import InputSpec, NetworkSpec
from fer_train import loop
from fer_train.data import TrainingData, prepare
from fer_train.loop import BEST, LAST, METRICS, DivergedError, Trainer
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

    def step(batch: torch.Tensor, generator: torch.Generator) -> tuple[float, int]:
        nonlocal steps
        steps += 1
        if steps == 2 * interrupted.steps + 2:  # in the middle of the third epoch
            raise PowerCutError
        return real_step(batch, generator)

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
    with pytest.raises(DivergedError, match="batch 0 of epoch 2"):
        trainer._one_epoch()
    assert (tmp_path / LAST).read_bytes() == kept


def test_the_rate_warms_up_and_falls_to_a_hundredth(data: TrainingData, tmp_path: Path) -> None:
    trainer = Trainer(RECIPE, data, tmp_path)
    last = trainer.steps - 1
    rates = [trainer._learning_rate(last, epoch) for epoch in range(RECIPE.epochs)]
    assert rates[0] == pytest.approx(RECIPE.learning_rate)
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(RECIPE.learning_rate / 100)


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
    whole = loop.logits_of(trainer.state.network.eval(), trainer.spec, data.validation)
    assert whole.shape == (21, 7)
    single = loop.logits_of(
        trainer.state.network, trainer.spec, data.validation.take(data.validation.labels == 2)
    )
    assert torch.allclose(
        torch.from_numpy(whole[data.validation.labels == 2]), torch.from_numpy(single), atol=1e-5
    )
