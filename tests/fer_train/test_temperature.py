"""Temperature scaling."""

from __future__ import annotations

from unittest.mock import create_autospec

import numpy as np
import pytest

from fer_edge.evaluation.metrics import expected_calibration_error, softmax
from fer_train import temperature
from fer_train.temperature import cross_fitted, fit


def planted(true_temperature: float, n: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose labels were drawn from their softmax at a temperature."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2 * true_temperature, (n, 7))
    sums = softmax(logits, true_temperature).cumsum(axis=1)
    return (rng.random((n, 1)) < sums).argmax(axis=1), logits


@pytest.mark.parametrize("true", [0.2, 1.0, 1.7, 8.0])
def test_a_planted_temperature_is_found(true: float) -> None:
    assert fit(*planted(true)) == pytest.approx(true, rel=0.03)


def test_certain_mistakes_do_not_hide_the_minimum() -> None:
    # nine of ten right at a margin m: the likelihood is best where exp(m / T) = 9 * 6
    margin = 64.0
    logits = np.zeros((10, 7))
    logits[:, 0] = margin
    labels = np.array([0] * 9 + [1])
    assert fit(labels, logits) == pytest.approx(margin / np.log(54), rel=1e-3)


@pytest.mark.parametrize(("winner", "bound"), [(0, 0.05), (1, 20.0)])
def test_what_has_no_minimum_ends_at_a_bound(winner: int, bound: float) -> None:
    always_right_or_wrong = np.tile([1.0, 0, 0, 0, 0, 0, 0], (10, 1))
    labels = np.full(10, winner)
    assert fit(labels, always_right_or_wrong) == pytest.approx(bound, rel=1e-3)


# --- cross-fitting


def test_no_picture_has_a_part_in_its_own_temperature(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, logits = planted(1.7, 23)
    logits[:, 0] = np.arange(23)  # a number for each picture

    fitted_on: dict[float, set[float]] = {}

    def note(_: np.ndarray, seen: np.ndarray) -> float:
        used = 2.0 + len(fitted_on)
        fitted_on[used] = set(seen[:, 0])
        return used

    monkeypatch.setattr(temperature, "fit", create_autospec(fit, side_effect=note))
    for row, (used,) in zip(logits, cross_fitted(labels, logits), strict=True):
        assert row[0] not in fitted_on[used]


@pytest.mark.parametrize(("n", "folds", "largest"), [(23, 5, 5), (3, 5, 1), (10, 2, 5)])
def test_folds_are_even(n: int, folds: int, largest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    labels, logits = planted(1.7, n)
    sizes: list[int] = []

    def note(seen: np.ndarray, _: np.ndarray) -> float:
        sizes.append(n - len(seen))
        return 1.0

    monkeypatch.setattr(temperature, "fit", create_autospec(fit, side_effect=note))
    cross_fitted(labels, logits, folds)
    assert (sum(sizes), max(sizes), len(sizes)) == (n, largest, min(folds, n))


def test_cross_fitting_mends_confidence() -> None:
    labels, logits = planted(3.0, 3000)
    before = expected_calibration_error(labels, softmax(logits))
    after = expected_calibration_error(labels, softmax(logits, cross_fitted(labels, logits)))
    assert (before > 0.1, after < 0.03) == (True, True)


def test_a_lone_picture_keeps_its_confidence() -> None:
    logits = np.array([[3.0, 1, 0, 0, 0, 0, 0]])
    np.testing.assert_array_equal(cross_fitted(np.array([1]), logits), [[1.0]])
