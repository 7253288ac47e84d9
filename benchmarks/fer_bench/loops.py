"""The timed loops, which run inside the process that is measured.

Only the standard library: a peer's environment has neither fer_edge nor what it needs. Times are
whole nanoseconds of a monotonic clock, which tests replace.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random
from statistics import median

__all__ = [
    "Clock",
    "Steps",
    "WarmUp",
    "closed_loop",
    "open_loop",
    "poisson_arrivals",
    "side_by_side",
    "staged_loop",
    "warm_up",
]

Clock = Callable[[], int]
Call = Callable[[int], object]
Steps = tuple[Callable[[int], object], Callable[[object], object], Callable[[object], object]]
"""Preprocess query ``i``, infer, postprocess; each takes what the one before gave."""

SECOND = 1_000_000_000
WINDOW_NS = 30_000_000
STABLE_WINDOWS = 3
STABLE_SPREAD = 0.10
_NEAR_NS = 200_000


@dataclass(frozen=True)
class WarmUp:
    """How warming up went; ``stable`` is False if it ran into its limit."""

    calls: int
    seconds: float
    stable: bool


def warm_up(call: Call, clock: Clock, *, limit_s: float) -> WarmUp:
    """Call until the medians of three windows in a row lie within 10 % of each other.

    A window is one call or 30 ms of calls, whichever is longer. Gives up after ``limit_s``.
    """
    start, calls = clock(), 0
    medians: list[float] = []
    while True:
        times: list[int] = []
        opened = clock()
        while not times or clock() - opened < WINDOW_NS:
            before = clock()
            call(calls)
            times.append(clock() - before)
            calls += 1
        medians.append(median(times))
        last = medians[-STABLE_WINDOWS:]
        stable = len(last) == STABLE_WINDOWS and max(last) <= min(last) * (1 + STABLE_SPREAD)
        seconds = (clock() - start) / SECOND
        if stable or seconds >= limit_s:
            return WarmUp(calls, seconds, stable)


def closed_loop(
    call: Call, clock: Clock, *, seconds: float, count: int, limit_s: float
) -> list[int]:
    """Time query after query, each issued as soon as the one before is answered.

    Ends when both ``seconds`` have passed and ``count`` queries are done, or after ``limit_s``.
    Every sample is kept.
    """
    samples: list[int] = []
    start, enough, limit = clock(), round(seconds * SECOND), round(limit_s * SECOND)
    for index in itertools.count():
        before = clock()
        call(index)
        after = clock()
        samples.append(after - before)
        passed = after - start
        if (passed >= enough and len(samples) >= count) or passed >= limit:
            return samples
    raise AssertionError("unreachable")


def staged_loop(
    steps: Steps, clock: Clock, *, seconds: float, count: int
) -> tuple[list[int], list[int], list[int]]:
    """Time the three stages of each query apart, for ``seconds`` and ``count`` queries at least."""
    preprocess, infer, postprocess = steps
    stages: tuple[list[int], list[int], list[int]] = ([], [], [])
    start, enough = clock(), round(seconds * SECOND)
    for index in itertools.count():
        marks = [clock()]
        value = preprocess(index)
        marks.append(clock())
        value = infer(value)
        marks.append(clock())
        postprocess(value)
        marks.append(clock())
        for stage, begin, end in zip(stages, marks, marks[1:], strict=False):
            stage.append(end - begin)
        if marks[-1] - start >= enough and len(stages[0]) >= count:
            return stages
    raise AssertionError("unreachable")


def side_by_side(loop: Callable[[int], list[int]], clients: int) -> list[int]:
    """Run ``loop(client)`` in ``clients`` threads; all their samples."""
    if clients == 1:
        return loop(0)
    with ThreadPoolExecutor(clients) as pool:
        return [sample for part in pool.map(loop, range(clients)) for sample in part]


def poisson_arrivals(rate: float, seconds: float, count: int, seed: int) -> list[int]:
    """Times of arrival, ns from the start, of a Poisson process of ``rate`` per second.

    Covers ``seconds`` and holds ``count`` arrivals at least. The same seed gives the same times.
    """
    random = Random(seed)  # noqa: S311 - a schedule, no secret
    arrivals: list[int] = []
    now = 0.0
    while now < seconds or len(arrivals) < count:
        now += random.expovariate(rate)
        arrivals.append(round(now * SECOND))
    return arrivals


def open_loop(
    call: Call,
    arrivals: Sequence[int],
    clock: Clock,
    sleep: Callable[[float], None],
    *,
    clients: int,
    limit_s: float,
) -> list[int | None]:
    """Answer queries that arrive on a schedule; latency counts from the *scheduled* arrival.

    A stall therefore shows in the latency of every query that waited for it, and the schedule does
    not wait for the answers (no coordinated omission). ``clients`` threads take the queries in
    order. Queries that are left after ``limit_s`` stay unanswered: None.
    """
    latencies: list[int | None] = [None] * len(arrivals)
    turn, start, limit = itertools.count(), clock(), round(limit_s * SECOND)

    def serve() -> None:
        while (index := next(turn)) < len(arrivals):
            due = start + arrivals[index]
            _wait(due, clock, sleep)
            if clock() - start > limit:
                return
            call(index)
            latencies[index] = clock() - due

    if clients == 1:
        serve()
        return latencies
    with ThreadPoolExecutor(clients) as pool:
        for job in [pool.submit(serve) for _ in range(clients)]:
            job.result()
    return latencies


def _wait(due: int, clock: Clock, sleep: Callable[[float], None]) -> None:
    # sleeping overshoots by tens of microseconds, so the last stretch only yields
    while (left := due - clock()) > 0:
        sleep(max(0, left - _NEAR_NS) / SECOND)
