"""The timed loops, which run inside the process that is measured.

Only the standard library: a peer's environment has neither fer_edge nor what it needs. Times are
whole nanoseconds of a monotonic clock, which tests replace.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from statistics import median

Clock = Callable[[], int]
Call = Callable[[int], object]
SECOND = 1_000_000_000
WINDOW_NS = 30_000_000
STABLE_WINDOWS = 3
STABLE_SPREAD = 0.10
_NEAR_NS = 200_000


def warm_up(call: Call, clock: Clock, *, limit_s: float) -> bool:
    """Call until the medians of three windows in a row lie within 10 % of each other.

    A window is one call or 30 ms of calls, whichever is longer. Returns False if this did not
    happen within ``limit_s``.
    """
    start, calls = clock(), itertools.count()
    medians: list[float] = []
    while True:
        times: list[int] = []
        opened = clock()
        while not times or clock() - opened < WINDOW_NS:
            before = clock()
            call(next(calls))
            times.append(clock() - before)
        medians.append(median(times))
        last = medians[-STABLE_WINDOWS:]
        if len(last) == STABLE_WINDOWS and max(last) <= min(last) * (1 + STABLE_SPREAD):
            return True
        if clock() - start >= limit_s * SECOND:
            return False


def closed_loop(
    call: Call, clock: Clock, *, seconds: float, count: int, limit_s: float
) -> list[int]:
    """Time query after query, each issued as soon as the one before is answered.

    Ends when both ``seconds`` have passed and ``count`` queries are done, or after ``limit_s``.
    Every sample is kept.
    """
    samples: list[int] = []
    start, enough, limit = clock(), round(seconds * SECOND), round(limit_s * SECOND)
    passed = 0
    while (passed < enough or len(samples) < count) and passed < limit:
        before = clock()
        call(len(samples))
        after = clock()
        samples.append(after - before)
        passed = after - start
    return samples


def side_by_side(loop: Callable[[int], list[int]], clients: int) -> list[int]:
    """Run ``loop(client)`` in ``clients`` threads, one alone in this thread; all their samples."""
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

    def serve(_client: int) -> list[int]:
        while (index := next(turn)) < len(arrivals):
            due = start + arrivals[index]
            _wait(due, clock, sleep)
            if clock() - start > limit:
                break
            call(index)
            latencies[index] = clock() - due
        return []

    side_by_side(serve, clients)
    return latencies


def _wait(due: int, clock: Clock, sleep: Callable[[float], None]) -> None:
    # sleeping overshoots by tens of microseconds, so the last stretch only yields
    while (left := due - clock()) > 0:
        sleep(max(0, left - _NEAR_NS) / SECOND)
