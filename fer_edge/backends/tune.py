"""Measures which backend is fastest on this device, for ``backend="auto"`` to know.

Only the call of the engine is timed, with one crop and one caller. Rounds are interleaved, so that
a processor that slows down in between slows all backends alike. One engine is open at a time, so
that small devices have enough memory.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial

import numpy as np

from fer_edge.artifacts.artifact import Artifact
from fer_edge.artifacts.model import DEFAULT_MODEL, Model
from fer_edge.backends import BACKENDS, Backend, BackendOptions, EngineInfo, backend_class
from fer_edge.backends.choose_backend import candidates
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
    found = candidates(opened, precision, device)
    check_tuning_folder()
    counts = tuple(threads) or thread_counts()
    runs: list[_Run] = []
    for one in found:
        artifact = opened.artifact(one.backend, precision)
        tried = counts if _has_threads(one.backend, device) else (None,)
        runs += [_Run(one.backend, artifact, device, count) for count in tried]
    with progress(_ROUNDS * len(runs), "tuning") as bar:
        for _ in range(_ROUNDS):
            for run in runs:
                run.measure(seconds)
                bar.advance(note=run.backend)
    measured = [timing for run in runs if (timing := run.timing()) is not None]
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
    """A backend with a number of threads, and its measurements."""

    backend: str
    artifact: Artifact
    device: str
    threads: int | None
    medians: list[float] = field(default_factory=list)
    engine: EngineInfo | None = None
    precision: str = ""
    failure: str | None = None

    def measure(self, seconds: float) -> None:
        """Open the backend, time it for ``seconds``, and close it; do nothing if it has failed."""
        if self.failure is not None:
            return
        try:
            options = BackendOptions(device=self.device, threads=self.threads)
            opened = backend_class(self.backend)(self.artifact, options)
            try:
                self.medians.append(_median_ms(opened, seconds))
                self.engine, self.precision = opened.engine, opened.spec.precision
            finally:
                opened.close()
        except Exception as problem:  # a broken engine may raise anything, and it is reported
            self.failure = str(problem) or repr(problem)

    def timing(self) -> Timing | None:
        if self.failure is not None or self.engine is None:
            return None
        return Timing(
            backend=self.backend,
            threads=self.threads,
            p50_ms=statistics.median(self.medians),
            provider=self.engine.provider,
            inference_precision=self.engine.inference_precision,
        )


def _has_threads(backend: str, device: str) -> bool:
    return "cpu" in BACKENDS[backend].devices and device in ("auto", "cpu")


def _median_ms(backend: Backend, seconds: float) -> float:
    crop = np.random.default_rng(0).integers(0, 256, (1, *backend.spec.input.shape), np.uint8)
    _, probabilities = backend.infer(crop)
    if not abs(float(probabilities.sum()) - 1) < _SUM_TOLERANCE:
        raise EngineError(f"its probabilities add up to {probabilities.sum()} instead of 1")
    timed = partial(
        call_times, partial(backend.infer, crop), fewest=_FEWEST_CALLS, most=_MOST_CALLS
    )
    timed(seconds=_WARM_UP_S)
    return statistics.median(timed(seconds=seconds)) * 1e3
