"""Two models on the same pictures, against sums done by hand; and reliability."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from fer_bench.accuracy import Answers, EvaluationSplit, compare_answers, scored
from fer_bench.agreement import agreement, bits, paired_test, unbits
from fer_bench.reliability import reliability_bins
from fer_bench.reliability_diagram import draw_reliability
from fer_edge.evaluation.fer2013 import LabelledCrops


def mask(text: str) -> np.ndarray:
    return np.array([letter == "1" for letter in text])


def test_mcnemars_test_is_the_exact_binomial() -> None:
    # right alone: 1 and 6 pictures; p = 2 (C(7,0) + C(7,1)) / 2^7
    test = paired_test("a", "b", mask("1000000" + "11"), mask("0111111" + "11"))
    assert (test.n, test.only_first, test.only_second) == (9, 1, 6)
    assert test.p_value == pytest.approx(2 * (1 + 7) / 128)
    assert test.difference == pytest.approx(-5 / 9)
    assert test.difference_ci95[0] < -5 / 9 < test.difference_ci95[1]


def test_equal_models_differ_by_nothing() -> None:
    test = paired_test("a", "b", mask("1010"), mask("1010"))
    assert (test.p_value, test.difference) == (1.0, 0.0)


def test_answers_on_other_pictures_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="expected as many answers of both"):
        paired_test("a", "b", mask("10"), mask("101"))


def test_agreement_and_divergence_from_a_reference() -> None:
    reference = np.array([[0.5, 0.5, 0.0], [0.8, 0.1, 0.1]])
    other = np.array([[0.25, 0.75, 0.0], [0.8, 0.1, 0.1]])
    found = agreement("fp32", reference, other)
    assert (found.reference, found.top1, found.max_difference) == ("fp32", 0.5, 0.25)
    divergence = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert found.mean_kl == pytest.approx(divergence / 2, abs=1e-9)


def test_a_model_is_its_own_reference_exactly() -> None:
    same = np.random.default_rng(0).dirichlet(np.ones(7), 50)
    found = agreement("x", same, same)
    assert (found.top1, found.mean_kl, found.max_difference) == (1.0, 0.0, 0.0)


@pytest.mark.parametrize("n", [1, 7, 8, 9, 3589])
def test_answers_survive_as_text(n: int) -> None:
    right = np.random.default_rng(n).random(n) < 0.6
    assert np.array_equal(unbits(bits(right), n), right)
    with pytest.raises(ValueError, match="bytes do not hold"):
        unbits(bits(right), n + 8)


def test_bins_hold_their_upper_bound_and_add_up_to_the_ece() -> None:
    labels = np.array([0, 0, 1, 0])
    first = np.array([0.6, 0.6, 0.61, 1.0])
    bins = reliability_bins(labels, np.stack([first, 1 - first], axis=1))
    assert len(bins) == 15
    filled = [(b.count, b.confidence, b.accuracy) for b in bins if b.count]
    assert [count for count, _, _ in filled] == [2, 1, 1]
    assert filled[0][1:] == (pytest.approx(0.6), 1.0)
    assert filled[1][1:] == (pytest.approx(0.61), 0.0)
    assert bins[8].high == pytest.approx(0.6)
    assert bins[8].count == 2
    gaps = sum(b.count * abs(b.confidence - b.accuracy) for b in bins if b.count)
    assert gaps / 4 == pytest.approx((2 * 0.4 + 0.61) / 4)


def split_of(images: np.ndarray, labels: np.ndarray) -> EvaluationSplit:
    names = tuple(map(str, range(len(labels))))
    return EvaluationSplit("public-test", LabelledCrops(images, labels, names), None)


DESCRIBED = {"backend": "double", "precision": "fp32"}


def answered(labels: np.ndarray, right: np.ndarray, name: str = "m") -> Answers:
    said = np.where(right, labels, (labels + 1) % 7)
    return Answers(name, np.eye(7, dtype=np.float32)[said] * 0.9 + np.float32(0.1 / 7), DESCRIBED)


def test_right_answers_stand_in_an_order_that_no_container_changes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (30, 48, 48), np.uint8)
    labels, right = rng.integers(0, 7, 30), rng.random(30) < 0.6
    other = rng.permutation(30)
    one = scored(answered(labels, right), split_of(images, labels))
    two = scored(answered(labels[other], right[other]), split_of(images[other], labels[other]))
    assert one.right == two.right
    assert one.data_sha256 == two.data_sha256
    assert unbits(one.right, 30).sum() == right.sum()
    draw_reliability([one, two], tmp_path / "reliability.png")
    assert (tmp_path / "reliability.png").read_bytes().startswith(b"\x89PNG")


def test_every_pair_of_models_is_tested() -> None:
    labels = np.arange(21) % 7
    images = np.zeros((21, 48, 48), np.uint8)
    none, every = np.zeros(21, bool), np.ones(21, bool)
    answers = [
        answered(labels, right, name)
        for name, right in zip("abc", (every, none, every), strict=True)
    ]
    tests = compare_answers(answers, split_of(images, labels))
    assert [(t.first[0], t.second[0]) for t in tests] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [t.difference for t in tests] == [1.0, 0.0, -1.0]
    assert tests[0].p_value == pytest.approx(2 / 2**21)
