"""Which of several artifacts is faster on this machine.

They are timed in alternating rounds, so that drift affects all alike. Use fer-bench for figures to
publish.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from fer_edge.backends import BACKENDS
from fer_edge.predictor import Predictor
from fer_edge.system.timing import call_times

_ROUNDS, _ROUND_SECONDS, _WARM_UP_CALLS, _WARM_UP_SECONDS = 8, 0.06, 20, 2
_QUIET_SHARE = 0.9


@dataclass(frozen=True)
class Run:
    """An artifact on a backend."""

    file: str
    backend: str
    precision: str

    @property
    def threads(self) -> int | None:
        """One for engines that run on a CPU, None for those without such a setting."""
        return 1 if "cpu" in BACKENDS[self.backend].devices else None


@dataclass(frozen=True)
class Times:
    """Median milliseconds by name; ``busy`` if other programs used the CPU meanwhile."""

    p50_ms: Mapping[str, float]
    busy: bool


def median_latencies(predictors: Mapping[str, Predictor], crop: npt.NDArray[np.uint8]) -> Times:
    """Time ``predict_tensor`` with ``crop``, uint8 ``(1, H, W, C)``.

    This process keeps one thread at work. The machine counts as busy if that thread got the CPU
    for less than 90 % of the time; backends without CPU threads are ignored for this.
    """
    times: dict[str, list[float]] = {name: [] for name in predictors}
    wall, cpu = 0.0, 0.0
    for predictor in predictors.values():
        call_times(
            partial(predictor.predict_tensor, crop), seconds=_WARM_UP_SECONDS, most=_WARM_UP_CALLS
        )
    for _ in range(_ROUNDS):
        for name, predictor in predictors.items():
            start = time.process_time()
            taken = call_times(partial(predictor.predict_tensor, crop), seconds=_ROUND_SECONDS)
            times[name] += taken
            if "cpu" in BACKENDS[predictor.info.backend].devices:
                cpu += time.process_time() - start
                wall += sum(taken)
    medians = {name: float(np.median(taken)) * 1e3 for name, taken in times.items()}
    return Times(medians, busy=cpu < _QUIET_SHARE * wall)


def ratios(runs: Mapping[str, Run], times: Mapping[str, float]) -> Iterator[str]:
    """Sentences that compare INT8 with each other precision in the same engine."""
    fastest: dict[tuple[str, str], float] = {}
    for name, run in runs.items():
        key = run.backend, run.precision
        fastest[key] = min(times[name], fastest.get(key, float("inf")))
    for (backend, precision), taken in fastest.items():
        int8 = fastest.get((backend, "int8"))
        if int8 is not None and precision != "int8":
            yield (
                f"{backend}: int8 takes {int8:.3f} ms, {precision} {taken:.3f} ms: int8 is "
                f"{taken / int8:.2f} times as fast"
            )
