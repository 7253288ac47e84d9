"""A soak: threads that share a Predictor for minutes or hours, and a verdict."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import date
from itertools import islice

import numpy as np

from fer_bench.results import RunResult
from fer_bench.soak.load import Workload
from fer_bench.soak.observation import Holdings, Window, observe, resident_memory
from fer_edge.errors import ConfigurationError
from fer_edge.predictor import Predictor
from fer_edge.system.cores import usable_cores
from fer_edge.system.machine import cpu_name
from fer_edge.system.progress import Progress, progress

MAX_MEMORY_GROWTH = 0.01
"""Share by which resident memory may grow from the first window to the last."""

P99_ALLOWANCE = 1.15
"""The last p99 may be this times the highest p99 of the first half of the windows."""

REOPENED = 60
"""How often a model is opened and closed after the calls."""

MAX_REOPENED_GROWTH = 0.25
"""Share by which memory may grow over the last 40 of these: engines keep pages for reuse."""

SHORTEST_S = 4.0
"""A shorter soak has windows without a sample."""

_WINDOWS = 8
_WARM_UP = 0.15
_CROWD, _SEEN = 2, 16
_SAMPLE_S, _SAMPLES, _PATIENCE_S = 0.25, 10, 60.0
_KEPT = 5


@dataclass(frozen=True)
class SoakResult:
    """What a soak measured; memory in MB, times in ms, growth as a fraction of 1.

    ``cores`` are those that the process may use. Memory and p99 are of the first and the last
    window, each an eighth of the time after warm-up. Handles and threads are counted before and
    after that time, while nobody calls. ``wrong`` counts answers that differ from those of a single
    thread, and ``examples`` has the first few. ``defects`` is empty if everything holds.
    """

    model: str
    backend: str
    provider: str
    precision: str
    machine: str
    cores: int
    month: str
    seconds: float
    workers: int
    calls: int
    crops: int
    refused: int
    reopened: int
    wrong: int
    examples: tuple[str, ...]
    memory_first_mb: float
    memory_last_mb: float
    memory_growth: float
    handles_first: int
    handles_last: int
    threads_first: int
    threads_last: int
    p99_first_ms: float
    p99_last_ms: float
    p99_allowed_ms: float
    defects: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SoakRun(RunResult):
    """A run of ``fer-bench soak``."""

    schema: str = "fer-bench-soak/1"
    results: tuple[SoakResult, ...]


class _Calls:
    """Threads that call one Predictor, and what they find.

    ``window`` is the number of the one that is measured, None during warm-up.
    """

    def __init__(self, load: Workload, shared: Predictor) -> None:
        self._load, self._shared = load, shared
        self._lock = threading.Lock()
        self.windows = [Window() for _ in range(_WINDOWS)]
        self.counts: Counter[str] = Counter()
        self.examples: list[str] = []
        self.window: int | None = None

    @contextmanager
    def running(self, count: int, seed: int) -> Iterator[None]:
        """Let so many threads call while the block runs."""
        stop = threading.Event()
        with ThreadPoolExecutor(count, thread_name_prefix="soak") as pool:
            jobs = [pool.submit(self._work, stop, seed + number) for number in range(count)]
            try:
                yield
            finally:
                stop.set()
            for job in jobs:
                job.result()

    def watch(self, seconds: float, bar: Progress) -> None:
        """Go from window to window, and take samples of the memory.

        A window lasts an eighth of the time. On a very busy machine it lasts until one call in it
        has been timed, but all windows together take at most a minute longer.
        """
        end = time.monotonic() + seconds + _PATIENCE_S
        for number, window in enumerate(self.windows):
            self.window = number
            for _ in _moments(seconds / _WINDOWS, bar):
                window.samples.append(resident_memory())
            while not window.times and time.monotonic() < end:
                time.sleep(_SAMPLE_S)

    def _work(self, stop: threading.Event, seed: int) -> None:
        rng = np.random.default_rng(seed)
        while not stop.is_set():
            result = self._load.step(self._shared, rng)
            with self._lock:
                self.counts["calls"] += 1
                self.counts["crops"] += result.crops
                self.counts["refused"] += result.refused
                if result.wrong:
                    self.counts["wrong"] += 1
                    if len(self.examples) < _KEPT:
                        self.examples.append(result.wrong)
                elif result.seconds and self.window is not None:
                    self.windows[self.window].add(result.seconds)


def soak(
    open_predictor: Callable[[], Predictor],
    seconds: float,
    *,
    model: str = "default",
    workers: int = 4,
    seed: int = 0,
) -> SoakResult:
    """Let ``workers`` threads share a Predictor for ``seconds``.

    Their calls are of mixed sizes, and one in seven is a mistake that has to be refused. After
    that, Predictors are opened, used and closed one after the other; ``open_predictor`` gives a new
    one each time. Raises ConfigurationError for less than 4 seconds or no workers, and what
    ``open_predictor`` raises.
    """
    if not seconds >= SHORTEST_S or workers < 1:
        raise ConfigurationError(
            f"a soak takes at least {SHORTEST_S:g} seconds and one worker, not {seconds:g} and "
            f"{workers}"
        )
    with open_predictor() as alone:
        load = Workload.of(alone, seed)
    with open_predictor() as shared:
        info, calls = shared.info, _Calls(load, shared)
        _crowd(shared, load, _CROWD * workers)
        with progress(round(seconds), f"soaking {info.backend}") as bar:
            with calls.running(workers, seed):
                for _ in _moments(seconds * _WARM_UP, bar):
                    pass
            early = observe()
            with calls.running(workers, seed + workers):
                calls.watch(seconds * (1 - _WARM_UP), bar)
            late = observe()
    reopened = _reopen(open_predictor, load)
    first, last, counts = calls.windows[0], calls.windows[-1], calls.counts
    measured = SoakResult(
        model=model,
        backend=info.backend,
        provider=info.provider,
        precision=info.precision,
        machine=cpu_name(),
        cores=usable_cores(),
        month=f"{date.today():%Y-%m}",
        seconds=seconds,
        workers=workers,
        calls=counts["calls"],
        crops=counts["crops"],
        refused=counts["refused"],
        reopened=REOPENED,
        wrong=counts["wrong"],
        examples=tuple(calls.examples),
        memory_first_mb=first.memory / 1e6,
        memory_last_mb=last.memory / 1e6,
        memory_growth=last.memory / first.memory - 1,
        handles_first=early.handles,
        handles_last=late.handles,
        threads_first=early.threads,
        threads_last=late.threads,
        p99_first_ms=1e3 * first.quantile(0.99),
        p99_last_ms=1e3 * last.quantile(0.99),
        p99_allowed_ms=1e3 * allowed_p99(calls.windows),
        defects=(),
    )
    return replace(measured, defects=tuple(judge(measured, *reopened)))


def allowed_p99(windows: Sequence[Window]) -> float:
    """The highest p99 that the last window may have, in seconds."""
    half = windows[: len(windows) // 2]
    return P99_ALLOWANCE * max(window.quantile(0.99) for window in half)


def _crowd(shared: Predictor, load: Workload, streams: int) -> None:
    """Run more threads at once than the soak will later.

    glibc gives each concurrent thread its own heap and keeps it. Without this, memory would grow by
    one heap, 17 MB in torch, whenever more calls coincide than before.
    """
    with ExitStack() as open_streams:
        answers = [
            open_streams.enter_context(shared.predict_stream(load.crops)) for _ in range(streams)
        ]
        for some in answers:  # only a part of each, so that all stay open
            for _ in islice(some, _SEEN):
                pass


def _moments(seconds: float, bar: Progress) -> Iterator[None]:
    """Yield at once, and then every now and again until ``seconds`` have passed."""
    start, done = time.monotonic(), bar.done
    pause = max(_SAMPLE_S, seconds / _SAMPLES)
    while (passed := time.monotonic() - start) < seconds:
        yield
        bar.advance(done + round(passed) - bar.done)
        time.sleep(pause)


def _reopen(open_predictor: Callable[[], Predictor], load: Workload) -> list[Holdings]:
    """Open, use and close many times; what is held after a third of them, and at the end."""
    rng, held = np.random.default_rng(0), []
    for number in range(REOPENED):
        with open_predictor() as another:
            load.step(another, rng)
        if number in (REOPENED // 3, REOPENED - 1):
            held.append(observe())
    return held


def judge(one: SoakResult, early: Holdings, late: Holdings) -> Iterator[str]:
    """What does not hold, as phrases: answers, memory, handles, threads, and p99.

    ``early`` and ``late`` are what was held early and late in the series of opening and closing.
    """
    if one.wrong:
        yield f"{one.wrong} wrong answers"
    if one.memory_growth > MAX_MEMORY_GROWTH:
        yield f"memory grew by {one.memory_growth:.2%}, allowed are {MAX_MEMORY_GROWTH:.0%}"
    if one.handles_last > one.handles_first:
        yield f"{one.handles_last} file handles, at first {one.handles_first}"
    if one.threads_last > one.threads_first:
        yield f"{one.threads_last} threads, at first {one.threads_first}"
    ended = one.p99_last_ms or math.inf  # without a call in the last window
    if ended > one.p99_allowed_ms:
        yield f"p99 of {ended:.2f} ms at the end, allowed are {one.p99_allowed_ms:.2f}"
    if late.memory > early.memory * (1 + MAX_REOPENED_GROWTH):
        yield f"memory grew by {late.memory / early.memory - 1:.0%} from opening and closing"
    if late.handles > early.handles or late.threads > early.threads:
        yield "closing leaves file handles or threads behind"
