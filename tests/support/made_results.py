"""Benchmark results that are made up: samples, runs and accuracies, as fixtures and functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_bench.candidates import Candidate
from fer_bench.latency_results import LatencyRun
from fer_bench.launching import RoundSample
from fer_bench.measure_accuracy import AccuracyResult, Answers, EvaluationSplit, scored
from fer_bench.measure_latency import measure_latency
from fer_bench.noise import NoiseWatch
from fer_bench.scenarios import Settings
from fer_bench.soak.run import SoakResult
from fer_edge.evaluation.fer2013 import LabelledCrops
from fer_edge.system.machine import Machine

__all__ = ["PICTURES", "SOAKED", "make_run", "make_sample", "measured", "quiet_watch"]

_RNG = np.random.default_rng(0)
PICTURES = LabelledCrops(
    _RNG.integers(0, 256, (400, 48, 48), np.uint8), _RNG.integers(0, 7, 400), ("x",) * 400
)


SOAKED = SoakResult(
    model="m",
    backend="onnxruntime",
    provider="CPU",
    precision="fp32",
    machine="a board",
    cores=2,
    month="2026-11",
    seconds=60.0,
    workers=4,
    calls=1000,
    crops=2000,
    refused=100,
    reopened=60,
    wrong=0,
    examples=(),
    memory_first_mb=100.0,
    memory_last_mb=100.5,
    memory_growth=0.005,
    handles_first=5,
    handles_last=5,
    threads_first=1,
    threads_last=1,
    p99_first_ms=2.0,
    p99_last_ms=2.1,
    p99_allowed_ms=2.3,
    defects=(),
)


def measured(model: str, share: float, *, seed: int = 1, **described: Any) -> AccuracyResult:
    """Accuracy of about ``share`` on the pictures."""
    right = np.random.default_rng(seed).random(400) < share
    said = np.where(right, PICTURES.labels, (PICTURES.labels + 1) % 7)
    ran = {"sha256": "a" * 64, "backend": "onnxruntime", "precision": "fp32"}
    ran |= {"inference_precision": "fp32", **described}
    probabilities = np.eye(7, dtype=np.float32)[said]
    split = EvaluationSplit("public-test", PICTURES, None)
    return scored(Answers(model, probabilities, ran), split)


MakeSample = Callable[..., RoundSample]


@pytest.fixture(scope="session")
def make_sample() -> MakeSample:
    """A sample of given samples; other fields may be given by name."""

    def make(samples_ms: Sequence[float] | np.ndarray, **changes: Any) -> RoundSample:
        samples = np.array(samples_ms, np.float64)
        values: dict[str, Any] = {
            "samples_ms": samples,
            "unanswered": 0,
            "predictions": len(samples),
            "wall_s": float(samples.sum()) / 1000,
            "cpu_s": 0.002 * len(samples),
            "clients": 1,
            "batch": 1,
            "warm": True,
            "stages_ms": {"preprocess": 0.1, "inference": 0.7, "postprocess": 0.2},
            "cold_ms": 300.0,
            "load_ms": 120.0,
            "first_call_ms": 9.0,
            "rss_mb": 80.0,
            "peak_rss_mb": 90.0,
            "describe": {
                "sha256": "a" * 64,
                "backend": "onnxruntime",
                "version": "1.0",
                "device": "cpu",
                "provider": "CPU",
                "precision": "fp32",
                "inference_precision": "fp32",
                "threads": 1,
                "size_bytes": 1000,
            },
        }
        return RoundSample(**{**values, **changes})

    return make


def _still() -> NoiseWatch:
    return NoiseWatch(Machine(Path("/no system"), lambda _: None), probe=lambda: 1.0)


@pytest.fixture
def quiet_watch() -> NoiseWatch:
    """A watch over a machine that tells nothing and never changes."""
    return _still()


MakeRun = Callable[..., LatencyRun]


@pytest.fixture(scope="session")
def make_run(make_sample: MakeSample) -> MakeRun:
    """A run of candidates whose latency, in ms, is a log-normal about ``medians[model]``."""

    @cache
    def made(medians: tuple[tuple[str, float], ...], seed: int, rounds: int) -> LatencyRun:
        rng = np.random.default_rng(seed)

        def launch(candidate: Candidate, request: Mapping[str, Any]) -> RoundSample:
            middle = dict(medians)[candidate.model] * np.exp(rng.normal(0, 0.01))
            samples = middle * np.exp(rng.normal(0, 0.05, 200))
            return make_sample(samples, rate=request["rate"])

        watch = _still()
        candidates = [
            Candidate(name, "single-stream", backend="onnxruntime") for name, _ in medians
        ]
        return measure_latency(candidates, Settings(rounds=rounds), launch=launch, watch=watch)

    def make(medians: Mapping[str, float], *, seed: int = 0, rounds: int = 10) -> LatencyRun:
        return made(tuple(medians.items()), seed, rounds)

    return make
