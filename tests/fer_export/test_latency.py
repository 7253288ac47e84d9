"""Which artifact is faster here."""

from __future__ import annotations

import itertools
import time
from typing import Any, cast

import numpy as np

from fer_edge import Predictor
from fer_export.latency import median_latencies


class Sleeper:
    """A predictor that takes a known time, and notes when it was called."""

    def __init__(self, name: str, seconds: float, calls: list[str]) -> None:
        self.name, self.seconds, self.calls = name, seconds, calls

    def predict_tensor(self, batch: Any) -> None:
        self.calls.append(self.name)
        time.sleep(self.seconds)


def test_the_slower_one_is_told_and_rounds_alternate() -> None:
    calls: list[str] = []
    made = {name: Sleeper(name, s, calls) for name, s in (("a", 0.002), ("b", 0.004))}
    times = median_latencies(cast("dict[str, Predictor]", made), np.zeros((1, 4, 4, 1), np.uint8))
    assert 2 <= times["a"] < times["b"]
    changes = sum(first != second for first, second in itertools.pairwise(calls))
    assert changes >= 15
