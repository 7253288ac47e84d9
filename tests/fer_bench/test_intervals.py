"""Percentiles, intervals over rounds, and changes between runs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from fer_bench.intervals import RoundBootstrap, change_between, percentile, student_quantile

Floats = npt.NDArray[np.float64]


@pytest.mark.parametrize(
    ("level", "expected"), [(0.5, 50), (0.9, 90), (0.99, 99), (0.991, 100), (0.001, 1)]
)
def test_a_percentile_is_the_nearest_rank(level: float, expected: int) -> None:
    samples = np.random.default_rng(0).permutation(np.arange(1.0, 101.0))
    assert percentile(samples, level) == expected


@pytest.mark.parametrize(
    ("level", "freedom", "expected"),
    [
        (0.95, 1, 12.7062),
        (0.95, 9, 2.2622),
        (0.95, 30, 2.0423),
        (0.99, 4, 4.6041),
        (0.5, 2, 0.8165),
    ],
)
def test_quantiles_of_students_distribution_are_those_of_the_tables(
    level: float, freedom: int, expected: float
) -> None:
    assert student_quantile(level, freedom) == pytest.approx(expected, abs=5e-5)


def rounds_of(rng: np.random.Generator, median: float = 1.0, spread: float = 0.05) -> list[Floats]:
    """Ten rounds of a hundred samples; each round is shifted as a whole."""
    return [
        median * np.exp(rng.normal(0, spread)) * np.exp(rng.normal(0, 0.05, 100)) for _ in range(10)
    ]


def test_intervals_cover_the_truth_where_rounds_differ() -> None:
    rng = np.random.default_rng(1)
    bootstrap = RoundBootstrap(10, draws=400)
    hits = narrow = 0
    for _ in range(200):
        rounds = rounds_of(rng)
        span = bootstrap.interval(bootstrap.percentiles(rounds, 0.5)[0])
        hits += span[0] <= 1.0 <= span[1]
        # what drawing single samples would give: the standard error of 1,000 independent ones
        centre, reach = np.median(np.concatenate(rounds)), 1.96 * 1.2533 * 0.07 / np.sqrt(1000)
        narrow += centre - reach <= 1.0 <= centre + reach
    assert hits / 200 >= 0.92
    assert narrow / 200 < 0.6


def test_the_same_seed_gives_the_same_interval() -> None:
    rounds = rounds_of(np.random.default_rng(2))
    spans = [
        (b := RoundBootstrap(10, seed=5)).interval(b.percentiles(rounds, 0.9)[0]) for _ in range(2)
    ]
    assert spans[0] == spans[1]


def test_a_draw_of_each_round_once_is_the_pooled_percentile() -> None:
    rounds = rounds_of(np.random.default_rng(3))
    bootstrap = RoundBootstrap(10, draws=50)
    bootstrap._counts = np.ones((50, 10), np.int64)
    found = bootstrap.percentiles(rounds, 0.9)
    assert set(found[0]) == {percentile(np.concatenate(rounds), 0.9)}


def test_a_drift_that_hits_both_cancels_in_their_ratio() -> None:
    rng = np.random.default_rng(4)
    drift = np.exp(rng.normal(0, 0.3, 10))
    first = [d * 2 * np.exp(rng.normal(0, 0.01, 100)) for d in drift]
    second = [d * np.exp(rng.normal(0, 0.01, 100)) for d in drift]
    bootstrap = RoundBootstrap(10)
    alone = bootstrap.interval(bootstrap.percentiles(first, 0.5)[0])
    ratio = bootstrap.interval(
        bootstrap.percentiles(first, 0.5)[0] / bootstrap.percentiles(second, 0.5)[0]
    )
    assert alone[1] / alone[0] > 1.3
    assert ratio[1] / ratio[0] < 1.12
    assert ratio[0] < 2 < ratio[1]


def test_rounds_of_unlike_size_count_by_their_samples() -> None:
    rounds = [np.full(1000, 1.0), np.full(10, 9.0), np.full(10, 9.0), np.full(10, 9.0)]
    bootstrap = RoundBootstrap(4)
    assert percentile(np.concatenate(rounds), 0.5) == 1.0
    found = bootstrap.percentiles(rounds, 0.5)
    # nine only where the large round was not drawn: (3/4)**4
    assert float((found == 9.0).mean()) == pytest.approx(0.316, abs=0.04)


def test_throughput_is_the_sum_over_the_sum() -> None:
    bootstrap = RoundBootstrap(3)
    found = bootstrap.ratios([10.0, 20.0, 30.0], [1.0, 2.0, 3.0])
    assert np.allclose(found, 10.0)


def test_too_few_rounds_have_no_interval() -> None:
    bootstrap = RoundBootstrap(2)
    assert bootstrap.interval(bootstrap.ratios([1.0, 2.0], [1.0, 1.0])) is None
    assert change_between([1.0, 1.1], [2.0, 2.1, 2.2]) is None


def medians(rng: np.random.Generator, middle: float) -> list[float]:
    return [float(middle * np.exp(rng.normal(0, 0.03))) for _ in range(10)]


def test_a_planted_slowdown_is_found() -> None:
    rng = np.random.default_rng(5)
    found = [change_between(medians(rng, 1), medians(rng, 1.1), comparisons=5) for _ in range(50)]
    assert sum(it.beyond_noise for it in found) >= 45
    assert np.mean([it.ratio for it in found]) == pytest.approx(1.1, rel=0.02)


def test_noise_is_no_change() -> None:
    rng = np.random.default_rng(6)
    runs = [[change_between(medians(rng, 1), medians(rng, 1), comparisons=10) for _ in range(10)]
            for _ in range(100)]  # fmt: skip
    alarms = sum(any(it.beyond_noise for it in run) for run in runs)
    assert alarms <= 12  # 5 of 100 runs of ten comparisons each are expected


def test_a_small_change_is_none_however_sure() -> None:
    old, new = [1.0, 1.0001, 0.9999], [1.02, 1.0201, 1.0199]
    assert change_between(old, new).beyond_noise
    assert not change_between(old, new, least=0.03).beyond_noise


def test_rounds_that_never_vary_do_not_fail() -> None:
    assert not change_between([1.0] * 3, [1.0] * 3).beyond_noise
    assert change_between([1.0] * 3, [2.0] * 3).beyond_noise
