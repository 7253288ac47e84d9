"""The learning rate and the end of a training."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fer_train.optimizer import is_over, learning_rate
from fer_train.presets import preset

COSINE = replace(preset("mobilenet"), epochs=10, warmup_epochs=2, learning_rate=1.0)
PLATEAU = replace(COSINE, schedule="plateau", warmup_epochs=0, plateau_patience=2)


def test_the_warm_up_is_linear() -> None:
    assert learning_rate(COSINE, 0.5, []) == pytest.approx(0.25)
    assert learning_rate(COSINE, 1.5, []) == pytest.approx(0.75)


def test_the_cosine_falls_from_the_full_rate_to_a_hundredth() -> None:
    rates = [learning_rate(COSINE, done, []) for done in (2, 4, 6, 8, 10)]
    assert rates[0] == pytest.approx(1)
    assert rates[2] == pytest.approx(0.505)
    assert rates[-1] == pytest.approx(0.01)
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize(
    ("losses", "rate"),
    [
        ([], 1.0),
        ([3.0, 2.0, 1.0], 1.0),
        ([1.0, 2.0], 1.0),
        ([1.0, 2.0, 2.0], 0.1),
        ([1.0, 2.0, 2.0, 0.5, 0.6], 0.1),
        ([1.0, 2.0, 2.0, 2.0, 2.0], 0.01),
    ],
)
def test_a_plateau_of_the_loss_divides_the_rate_by_ten(losses: list[float], rate: float) -> None:
    assert learning_rate(PLATEAU, 5, losses) == pytest.approx(rate)


def test_a_training_ends_with_its_epochs() -> None:
    assert not is_over(COSINE, 9, [1.0] * 9)
    assert is_over(COSINE, 10, [])


def test_early_stopping_ends_it_after_so_many_evaluations_without_a_better_loss() -> None:
    recipe = replace(COSINE, early_stopping=3)
    assert not is_over(recipe, 1, [])
    assert not is_over(recipe, 4, [1.0, 0.5, 0.6, 0.7])
    assert is_over(recipe, 5, [1.0, 0.5, 0.6, 0.7, 0.5])
