"""How fast artifacts answer on this machine, as far as an export has to know: which form wins.

The rounds of all contestants alternate, so that drift hits all alike. For figures to publish there
is fer-bench.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fer_edge.backends import BACKENDS
from fer_edge.predictor import Predictor

__all__ = ["Run", "median_latencies", "ratios"]

_ROUNDS, _ROUND_SECONDS, _WARM_UP_CALLS = 8, 0.06, 20


@dataclass(frozen=True)
class Run:
    """An artifact on a backend; ``inference_precision`` None is the artifact's own."""

    file: str
    backend: str
    precision: str
    inference_precision: str | None = None

    @property
    def threads(self) -> int | None:
        """One for engines that run on a CPU, None for those that have no such setting."""
        return 1 if "cpu" in BACKENDS[self.backend].devices else None


def median_latencies(
    predictors: Mapping[str, Predictor], crop: npt.NDArray[np.uint8]
) -> dict[str, float]:
    """Median time in ms of one ``predict_tensor`` with ``crop``, uint8 ``(1, H, W, C)``."""
    times: dict[str, list[float]] = {name: [] for name in predictors}
    for predictor in predictors.values():
        for _ in range(_WARM_UP_CALLS):
            predictor.predict_tensor(crop)
    for _ in range(_ROUNDS):
        for name, predictor in predictors.items():
            times[name] += _round(predictor, crop)
    return {name: float(np.median(taken)) * 1e3 for name, taken in times.items()}


def _round(predictor: Predictor, crop: npt.NDArray[np.uint8]) -> list[float]:
    """Seconds per call, for as many calls as fit and one at least."""
    taken: list[float] = []
    while sum(taken) < _ROUND_SECONDS:
        start = time.perf_counter()
        predictor.predict_tensor(crop)
        taken.append(time.perf_counter() - start)
    return taken


def ratios(runs: Mapping[str, Run], times: Mapping[str, float]) -> Iterator[str]:
    """Sentences on what INT8 gains over each other precision in the same engine, for a report."""
    fastest: dict[tuple[str, str], float] = {}
    for name, run in runs.items():
        if name in times:
            key = run.backend, run.precision
            fastest[key] = min(times[name], fastest.get(key, float("inf")))
    for (backend, precision), taken in fastest.items():
        int8 = fastest.get((backend, "int8"))
        if int8 is not None and precision != "int8":
            yield (
                f"{backend}: int8 takes {int8:.3f} ms, {precision} {taken:.3f} ms: int8 is "
                f"{taken / int8:.2f} times as fast"
            )
