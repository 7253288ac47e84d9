"""Which artifact is faster here."""

from __future__ import annotations

import itertools
import time
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from fer_edge import Predictor
from fer_export.race import Run, median_latencies, ratios


class Sleeper:
    """A predictor that takes a known time, and notes when it was called."""

    def __init__(self, name: str, seconds: float, calls: list[str]) -> None:
        self.name, self.seconds, self.calls = name, seconds, calls
        self.info = SimpleNamespace(backend="onnxruntime")

    def predict_tensor(self, batch: Any) -> None:
        self.calls.append(self.name)
        time.sleep(self.seconds)


def test_each_one_is_timed_and_rounds_alternate() -> None:
    calls: list[str] = []
    made = {name: Sleeper(name, s, calls) for name, s in (("a", 0.002), ("b", 0.004))}
    times = median_latencies(cast("dict[str, Predictor]", made), np.zeros((1, 4, 4, 1), np.uint8))
    assert times.p50_ms["a"] >= 2
    assert times.p50_ms["b"] >= 4
    changes = sum(first != second for first, second in itertools.pairwise(calls))
    assert changes >= 15


def test_a_machine_that_gave_the_cpu_to_others_is_called_busy() -> None:
    """A sleeping predictor gets as little CPU as one that other programs hold up."""
    made = {"a": Sleeper("a", 0.002, [])}
    crop = np.zeros((1, 4, 4, 1), np.uint8)
    assert median_latencies(cast("dict[str, Predictor]", made), crop).busy


def test_int8_is_compared_within_an_engine() -> None:
    runs = {
        "a": Run("m.onnx", "openvino", "fp32"),
        "b": Run("m8.onnx", "openvino", "int8"),
        "c": Run("m8.xml", "openvino", "int8"),
        "d": Run("m.onnx", "onnxruntime", "fp32"),
    }
    (line,) = ratios(runs, {"a": 1.0, "b": 0.8, "c": 0.4, "d": 3.0})
    assert line == "openvino: int8 takes 0.400 ms, fp32 1.000 ms: int8 is 2.50 times as fast"
