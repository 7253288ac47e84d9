"""Two models on the same pictures, against sums done by hand; and reliability."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fer_bench.measure_accuracy import (
    Answers,
    EvaluationSplit,
    compare_answers,
    reliability_bins,
    scored,
)
from fer_bench.paired_tests import pack_mask, paired_test, unpack_mask
from fer_bench.plot import draw_reliability
from fer_edge.evaluation.fer2013 import LabelledCrops


def mask(text: str) -> np.ndarray:
    return np.array([letter == "1" for letter in text])


def test_a_pair_bears_the_names_of_its_models() -> None:
    test = paired_test("a", "b", mask("1000000" + "11"), mask("0111111" + "11"))
    assert (test.first, test.second, test.only_first, test.only_second) == ("a", "b", 1, 6)


@pytest.mark.parametrize("n", [1, 7, 8, 9, 3589])
def test_answers_survive_as_text(n: int) -> None:
    right = np.random.default_rng(n).random(n) < 0.6
    assert np.array_equal(unpack_mask(pack_mask(right), n), right)
    with pytest.raises(ValueError, match="bytes do not hold"):
        unpack_mask(pack_mask(right), n + 8)


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
    assert unpack_mask(one.right, 30).sum() == right.sum()
    draw_reliability(
        [(it.model, it.reliability) for it in (one, two)], tmp_path / "reliability.png"
    )
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
