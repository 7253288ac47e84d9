"""Measures which backend is fastest on this device, for ``backend="auto"`` to know.

Only the call of the engine is timed, with one crop and one caller. Rounds are interleaved, so that
a processor that slows down in between slows all backends alike. One engine is open at a time, so
that small devices have enough memory.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import partial

import numpy as np

from fer_edge.artifacts.artifact import Artifact
from fer_edge.artifacts.model import DEFAULT_MODEL, Model
from fer_edge.backends import BACKENDS, Backend, BackendOptions, backend_class
from fer_edge.backends.choose_backend import candidates, no_choice
from fer_edge.backends.tuning_record import (
    Failure,
    Timing,
    Tuning,
    check_tuning_folder,
    this_machine,
)
from fer_edge.errors import EngineError
from fer_edge.system.cores import usable_cores
from fer_edge.system.progress import progress
from fer_edge.system.timing import call_times

_ROUNDS = 3
_WARM_UP_S = 0.05
_FEWEST_CALLS = 5
_MOST_CALLS = 300
_MOST_THREADS = 8
_SUM_TOLERANCE = 1e-3


def tune(
    model: str | os.PathLike[str] | Model = DEFAULT_MODEL,
    *,
    precision: str | None = None,
    device: str = "auto",
    threads: Sequence[int] = (),
    seconds: float = 0.3,
) -> Tuning:
    """Measure every backend that is installed and opens an artifact of ``model``, and keep it.

    ``precision`` None takes the manifest's. ``threads`` are the counts to try, by default those of
    ``thread_counts``. ``seconds`` is the time for each backend, count and round, of which there are
    three; it ends early after 300 calls. From then on ``backend="auto"`` takes the fastest, until
    an artifact, an engine or the machine changes. A backend that fails is listed with its reason.

    Raises EngineError if all backends fail, and what ``choose_backend`` raises if there is none.
    Raises ConfigurationError, before anything is measured, if the result cannot be kept, and
    OSError if writing it fails later.
    """
    opened = Model.open(model)
    if not (found := candidates(opened, precision, device)):
        raise no_choice(opened, precision, device)
    check_tuning_folder()
    counts = tuple(threads) or thread_counts()
    runs: list[_Run] = []
    for one in found:
        artifact = opened.artifact(one.backend, precision)
        has_threads = "cpu" in BACKENDS[one.backend].devices and device in ("auto", "cpu")
        for count in counts if has_threads else (None,):
            runs.append(_Run(one.backend, artifact, BackendOptions(device, count)))
    with progress(_ROUNDS * len(runs), "tuning") as bar:
        for _ in range(_ROUNDS):
            for run in runs:
                run.measure(seconds)
                bar.advance(note=run.backend)
    measured = [
        replace(run.rounds[0], p50_ms=statistics.median(one.p50_ms for one in run.rounds))
        for run in runs
        if run.failure is None
    ]
    reasons = {run.backend: run.failure for run in runs if run.failure is not None}
    if not measured:
        listed = "; ".join(f"{backend}: {reason}" for backend, reason in reasons.items())
        raise EngineError(f"no backend can be measured here: {listed}")
    tuning = Tuning(
        model=opened.name,
        precision=next(run.precision for run in runs if run.precision),
        device=device,
        machine=this_machine(),
        measured=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        candidates=found,
        timings=tuple(sorted(measured, key=lambda timing: timing.p50_ms)),
        failures=tuple(Failure(backend, reason) for backend, reason in reasons.items()),
    )
    tuning.write()
    return tuning


def thread_counts() -> tuple[int, ...]:
    """1, 2, 4 and 8 as far as there are cores, and their number itself if it is below 8."""
    cores = min(usable_cores(), _MOST_THREADS)
    powers = [1 << n for n in range(cores.bit_length()) if 1 << n <= cores]
    return tuple(sorted({*powers, cores}))


@dataclass
class _Run:
    """A backend with a number of threads, and what was measured in each round."""

    backend: str
    artifact: Artifact
    options: BackendOptions
    rounds: list[Timing] = field(default_factory=list)
    precision: str = ""
    failure: str | None = None

    def measure(self, seconds: float) -> None:
        """Open the backend, time it for ``seconds``, and close it; do nothing if it has failed."""
        if self.failure is not None:
            return
        try:
            with closing(backend_class(self.backend)(self.artifact, self.options)) as opened:
                timing = Timing(
                    backend=self.backend,
                    threads=self.options.threads,
                    p50_ms=_median_ms(opened, seconds),
                    provider=opened.engine.provider,
                    inference_precision=opened.engine.inference_precision,
                )
                self.rounds.append(timing)
                self.precision = opened.spec.precision
        except Exception as problem:  # a broken engine may raise anything, and it is reported
            self.failure = str(problem) or repr(problem)


def _median_ms(backend: Backend, seconds: float) -> float:
    crop = np.random.default_rng(0).integers(0, 256, (1, *backend.spec.input.shape), np.uint8)
    _, probabilities = backend.infer(crop)
    if not abs(float(probabilities.sum()) - 1) < _SUM_TOLERANCE:
        raise EngineError(f"its probabilities add up to {probabilities.sum()} instead of 1")
    infer = partial(backend.infer, crop)
    for limit in (_WARM_UP_S, seconds):
        times = call_times(infer, seconds=limit, fewest=_FEWEST_CALLS, most=_MOST_CALLS)
    return statistics.median(times) * 1e3
