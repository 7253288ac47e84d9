"""Metrics, against known values and against references that are slow and obvious."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fer_edge.evaluation.metrics import (
    class_scores,
    confusion_matrix,
    expected_calibration_error,
    negative_log_likelihood,
    score,
    softmax,
    wilson_interval,
)

NAMES = ("a", "b", "c")


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 3, 200)


@pytest.fixture
def probabilities() -> np.ndarray:
    return np.random.default_rng(1).dirichlet((0.4, 0.4, 0.4), 200)


def one_hot(winner: int, confidence: float) -> list[float]:
    row = [(1 - confidence) / 2] * 3
    row[winner] = confidence
    return row


# --- confusion and what follows from it


def test_rows_are_true_classes_and_columns_predicted_ones() -> None:
    assert confusion_matrix(np.array([0, 0, 2]), np.array([0, 1, 1]), 3).tolist() == [
        [1, 1, 0],
        [0, 0, 0],
        [0, 1, 0],
    ]


def test_the_scores_of_a_class_are_those_of_the_textbook() -> None:
    first = class_scores(np.array([[6, 2], [3, 9]]))[0]
    assert (first.precision, first.recall, first.support) == (6 / 9, 6 / 8, 8)
    assert first.f1 == pytest.approx(2 / (9 / 6 + 8 / 6))  # harmonic mean


def test_a_class_that_never_comes_and_is_never_guessed_scores_zero() -> None:
    absent = class_scores(np.array([[5, 0], [0, 0]]))[1]
    assert (absent.precision, absent.recall, absent.f1, absent.support) == (0, 0, 0, 0)


def test_macro_f1_weighs_classes_not_pictures() -> None:
    labels = np.array([0] * 98 + [1, 2])
    certain_of_the_first = np.tile([1.0, 0.0, 0.0], (100, 1))
    assert score(labels, certain_of_the_first, NAMES).macro_f1 == pytest.approx((2 * 98 / 198) / 3)


# --- the Wilson interval


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_that_of_the_literature(
    successes: int, trials: int, low: float, high: float
) -> None:
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("trials", [1, 7, 28, 3589])
def test_the_interval_of_none_or_all_reaches_that_rate_and_not_beyond(trials: int) -> None:
    assert wilson_interval(0, trials)[0] == 0
    assert wilson_interval(trials, trials)[1] == 1


# --- calibration


def test_gaps_of_different_bins_do_not_cancel() -> None:
    rows = np.array([one_hot(0, 0.95), one_hot(0, 0.55)])  # wrong at 0.95, right at 0.55
    assert expected_calibration_error(np.array([1, 0]), rows) == pytest.approx((0.95 + 0.45) / 2)


def test_a_bin_holds_its_upper_bound() -> None:
    # 0.6 is the bound between two bins: it belongs with 0.55, and their gaps cancel
    rows = np.array([one_hot(0, 0.6), one_hot(0, 0.55)])
    assert expected_calibration_error(np.array([0, 1]), rows) == pytest.approx(0.15 / 2)


def test_the_error_is_that_of_a_walk_over_the_bins(
    labels: np.ndarray, probabilities: np.ndarray
) -> None:
    confidence, guess = probabilities.max(axis=1), probabilities.argmax(axis=1)
    expected = 0.0
    for number in range(15):
        inside = [
            i for i, value in enumerate(confidence) if number / 15 < value <= (number + 1) / 15
        ]
        if inside:
            accuracy = sum(guess[i] == labels[i] for i in inside) / len(inside)
            mean = sum(confidence[i] for i in inside) / len(inside)
            expected += len(inside) / len(labels) * abs(accuracy - mean)
    assert expected_calibration_error(labels, probabilities) == pytest.approx(expected)


def test_float32_above_one_by_rounding_is_still_in_the_last_bin() -> None:
    above = np.nextafter(np.float32(1), np.float32(2))
    rows = np.array([[above, 0, 0]], np.float32)
    assert expected_calibration_error(np.array([0]), rows) == pytest.approx(0, abs=1e-6)


# --- likelihood and softmax


def test_ignorance_costs_the_logarithm_of_the_classes() -> None:
    assert negative_log_likelihood(np.array([0, 6]), np.full((2, 7), 1 / 7)) == pytest.approx(
        math.log(7)
    )


def test_the_likelihood_is_of_the_true_class(labels: np.ndarray, probabilities: np.ndarray) -> None:
    expected = -sum(math.log(row[i]) for row, i in zip(probabilities, labels, strict=True)) / 200
    assert negative_log_likelihood(labels, probabilities) == pytest.approx(expected)


def test_a_certain_mistake_is_bounded() -> None:
    rows = np.array([[1.0, 0.0, 0.0]])
    assert negative_log_likelihood(np.array([1]), rows) == pytest.approx(-math.log(1e-12))


def test_softmax_of_known_logits() -> None:
    assert softmax(np.log([[1.0, 2.0, 5.0]])) == pytest.approx(np.array([[0.125, 0.25, 0.625]]))


def test_temperature_divides_the_logits() -> None:
    logits = np.array([[1.0, -2.0, 0.5]])
    assert softmax(logits, 2.0) == pytest.approx(softmax(logits / 2))


def test_softmax_of_huge_logits_is_finite() -> None:
    assert softmax(np.array([[1e4, 0.0, -1e4]], np.float32)).tolist() == [[1.0, 0.0, 0.0]]


# --- all together


def test_score_agrees_with_its_parts(labels: np.ndarray, probabilities: np.ndarray) -> None:
    result = score(labels, probabilities, NAMES)
    right = int((probabilities.argmax(axis=1) == labels).sum())
    assert (result.n, result.accuracy) == (200, right / 200)
    assert result.accuracy_ci95 == wilson_interval(right, 200)
    assert result.ece == expected_calibration_error(labels, probabilities)
    assert result.nll == negative_log_likelihood(labels, probabilities)
    assert result.macro_f1 == pytest.approx(np.mean([s.f1 for s in result.per_class.values()]))
    assert tuple(result.per_class) == NAMES
    assert np.sum(result.confusion) == 200


@pytest.mark.parametrize("shape", [(0, 3), (4, 2), (3, 3), (4, 3, 1)])
def test_shapes_that_do_not_match_are_refused(shape: tuple[int, ...]) -> None:
    labels = np.zeros(min(4, 4 * shape[0]), np.int64)
    with pytest.raises(ValueError, match="expected probabilities of shape"):
        score(labels, np.ones(shape), NAMES)


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_what_is_not_a_number_is_refused(odd: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        score(np.array([0]), np.array([[odd, 0.0, 0.0]]), NAMES)
