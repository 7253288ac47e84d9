"""Latency beside the reference, by a clock that only the calls move."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from fer_bench.noise import NoiseWatch
from fer_bench.regression.latency_ratio import measure_pair, ratio_interval
from fer_edge.artifacts.spec import InputSpec
from fer_edge.predictor import Predictor
from fer_edge.system.machine import Machine

Sleeper = Callable[[float], Predictor]


@pytest.fixture
def load() -> list[float]:
    """By how much all else slows everything down."""
    return [1.0]


@pytest.fixture
def sleeper(load: list[float], monkeypatch: pytest.MonkeyPatch) -> Sleeper:
    """A Predictor whose calls take so many seconds of a clock that nothing else moves."""
    now = [0.0]
    monkeypatch.setattr("fer_edge.system.timing.perf_counter", lambda: now[0])

    def make(seconds: float) -> Predictor:
        def predict_tensor(_: np.ndarray) -> None:
            now[0] += seconds * load[0]

        info = SimpleNamespace(spec=SimpleNamespace(input=InputSpec(48, 48)))
        return cast("Predictor", SimpleNamespace(info=info, predict_tensor=predict_tensor))

    return make


def watch(probes: list[float]) -> NoiseWatch:
    """Of a system that tells nothing but how fast a core is, block by block."""
    return NoiseWatch(Machine(run=lambda _: None), probe=lambda: probes.pop(0), own_cpu=lambda: 0.0)


def test_the_ratio_is_that_of_the_two(sleeper: Sleeper) -> None:
    found = measure_pair(sleeper(0.004), sleeper(0.001), watch([1.0] * 5))
    assert found.ratio == pytest.approx(4)
    assert found.interval == pytest.approx((4, 4))


def test_what_slows_both_down_cancels(sleeper: Sleeper, load: list[float]) -> None:
    class Growing(NoiseWatch):
        def around(self):  # noqa: ANN202 - as in NoiseWatch
            load[0] *= 2
            return super().around()

    growing = Growing(Machine(run=lambda _: None), probe=lambda: 1.0)
    found = measure_pair(sleeper(0.002), sleeper(0.001), growing)
    assert found.ratio == pytest.approx(2)


def test_a_core_whose_speed_changes_is_a_disturbance(sleeper: Sleeper) -> None:
    found = measure_pair(sleeper(0.001), sleeper(0.001), watch([1.0, 1.0, 1.3, 1.0, 1.0]))
    assert any("the speed of a core changed" in line for line in found.disturbances)


def test_the_interval_of_ratios_covers_their_mean_and_shrinks_with_more() -> None:
    rng = np.random.default_rng(0)
    ratios = np.exp(rng.normal(np.log(3), 0.1, 400))
    low, high = ratio_interval(list(ratios))
    assert low < 3 < high
    few_low, few_high = ratio_interval(list(ratios[:10]))
    assert few_high - few_low > 3 * (high - low)
