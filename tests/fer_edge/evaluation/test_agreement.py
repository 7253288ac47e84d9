"""Two models on the same pictures, against sums done by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fer_edge.evaluation.agreement import (
    agreement,
    discordant,
    mcnemar,
    paired_difference,
    paired_difference_interval,
    same_answers,
)


def mask(text: str) -> np.ndarray:
    return np.array([letter == "1" for letter in text])


def test_agreement_and_divergence_from_a_reference() -> None:
    reference = np.array([[0.6, 0.4, 0.0], [0.8, 0.1, 0.1]])
    other = np.array([[0.25, 0.75, 0.0], [0.8, 0.1, 0.1]])
    found = agreement(reference, other)
    assert (found.top1, found.max_difference) == (0.5, 0.35)
    divergence = 0.6 * math.log(0.6 / 0.25) + 0.4 * math.log(0.4 / 0.75)
    assert found.mean_kl == pytest.approx(divergence / 2, abs=1e-9)


def test_a_model_is_its_own_reference_exactly() -> None:
    same = np.random.default_rng(0).dirichlet(np.ones(7), 50)
    found = agreement(same, same)
    assert (found.top1, found.mean_kl, found.max_difference) == (1.0, 0.0, 0.0)


def test_an_answer_that_the_reference_finds_nearly_as_probable_is_the_same() -> None:
    reference = np.array([[0.5, 0.5 - 1e-5], [0.5, 0.49]])
    other = reference[:, ::-1]
    assert same_answers(reference, other, tie=1e-4).tolist() == [True, False]
    assert same_answers(reference, other).tolist() == [False, False]


def test_an_answer_that_is_nan_agrees_with_nothing() -> None:
    reference = np.array([[0.0, 1.0], [1.0, 0.0]])
    other = np.array([[0.0, np.nan], [1.0, 0.0]])
    assert same_answers(reference, other).tolist() == [False, True]
    found = agreement(reference, other)
    assert math.isnan(found.mean_kl)
    assert math.isnan(found.max_difference)


@pytest.mark.parametrize("shape", [(0, 7), (3, 7)])
def test_answers_to_other_pictures_cannot_be_compared(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="expected probabilities of one shape"):
        agreement(np.ones(shape), np.ones((0, 7)))


def test_the_discordant_pictures_are_those_that_one_alone_answers_right() -> None:
    first, second = mask("1000000" + "11"), mask("0111111" + "11")
    assert discordant(first, second) == (1, 6)
    found = paired_difference(first, second)
    assert (found.n, found.only_first, found.only_second) == (9, 1, 6)
    assert found.p_value == pytest.approx(2 * (1 + 7) / 128)  # 2 (C(7,0) + C(7,1)) / 2^7
    assert found.difference == pytest.approx(-5 / 9)
    assert found.difference_ci95[0] < -5 / 9 < found.difference_ci95[1]


def test_equal_models_differ_by_nothing() -> None:
    found = paired_difference(mask("1010"), mask("1010"))
    assert (found.p_value, found.difference) == (1.0, 0.0)


@pytest.mark.parametrize(("first", "second"), [("10", "101"), ("", "")])
def test_masks_of_other_pictures_are_refused(first: str, second: str) -> None:
    with pytest.raises(ValueError, match="expected two masks of one shape"):
        discordant(mask(first), mask(second))


def test_mcnemar_is_the_binomial_test_of_the_discordant_pairs() -> None:
    assert mcnemar(0, 0) == 1
    assert mcnemar(5, 5) == 1
    assert mcnemar(1, 9) == pytest.approx(2 * (1 + 10) / 2**10)
    assert mcnemar(9, 1) == mcnemar(1, 9)


def test_the_paired_interval_holds_what_it_promises() -> None:
    rng = np.random.default_rng(0)
    n, first, second = 400, 0.06, 0.03
    pairs = rng.multinomial(n, [first, second, 1 - first - second], size=2000)
    covered = 0
    for only_first, only_second, _ in pairs:
        low, high = paired_difference_interval(int(only_first), int(only_second), n)
        covered += low <= first - second <= high
    assert 0.94 < covered / len(pairs) < 0.97
