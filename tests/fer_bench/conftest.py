"""What tests of the bench share: results that are made up, and time that only tests move."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from made_results import make_run, make_sample, quiet_watch

from fer_bench.launching import RoundSample
from fer_bench.loops import open_loop, poisson_arrivals

__all__ = ["FakeTime", "fake_time", "make_run", "make_sample", "quiet_watch", "server"]

MS = 1_000_000


class FakeTime:
    """A clock in ns that moves when something sleeps or works."""

    def __init__(self) -> None:
        self.now = 5 * MS

    def clock(self) -> int:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(20_000, round(seconds * 1e9))

    def work(self, ms: float) -> None:
        self.now += round(ms * MS)


@pytest.fixture
def fake_time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def server(fake_time: FakeTime, make_sample: Any) -> Callable[[float], Any]:
    """Make a server with one queue and a fixed service time in ms, on the fake clock."""

    def make(service_ms: float) -> Callable[[Mapping[str, Any]], RoundSample]:
        def measure(request: Mapping[str, Any]) -> RoundSample:
            rate, begin = request["rate"], fake_time.clock()
            if rate is None:
                return make_sample([service_ms] * 200, rate=None)
            latencies = open_loop(
                lambda _: fake_time.work(service_ms),
                poisson_arrivals(rate, request["seconds"], request["count"], request["seed"]),
                fake_time.clock,
                fake_time.sleep,
                clients=1,
                limit_s=request["limit_s"],
            )
            answered = [value / 1e6 for value in latencies if value is not None]
            unanswered, wall_s = len(latencies) - len(answered), (fake_time.clock() - begin) / 1e9
            return make_sample(answered, unanswered=unanswered, rate=rate, wall_s=wall_s)

        return measure

    return make
