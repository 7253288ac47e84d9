"""The timed loops, on a clock that only the fake engine and fake sleep move."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_bench.intervals import percentile
from fer_bench.loops import closed_loop, open_loop, poisson_arrivals, side_by_side, warm_up

MS = 1_000_000


def served(call: Any, arrivals: list[int], fake_time: Any, limit_s: float = 100) -> Any:
    """The latencies of one client on the fake clock."""
    return open_loop(call, arrivals, fake_time.clock, fake_time.sleep, clients=1, limit_s=limit_s)


def percentile_ms(samples: list[int | None], level: float) -> float:
    return percentile(np.array(samples, np.float64), level) / MS


def test_a_closed_loop_returns_the_latencies_that_the_engine_has(fake_time: Any) -> None:
    latencies = np.random.default_rng(0).gamma(4, 0.5, 3000)
    samples = closed_loop(
        lambda i: fake_time.work(latencies[i]),
        fake_time.clock,
        seconds=0.001,
        count=3000,
        limit_s=100,
    )
    assert len(samples) == 3000
    assert np.allclose(np.array(samples) / MS, latencies, atol=1e-5)


def test_a_closed_loop_lasts_for_its_time_and_its_count(fake_time: Any) -> None:
    def call(_: int) -> None:
        fake_time.work(10)

    for seconds, count, done in ((0.5, 1, 50), (0.01, 70, 70), (0.01, 10_000, 500)):
        samples = closed_loop(call, fake_time.clock, seconds=seconds, count=count, limit_s=5)
        assert len(samples) == done  # the last reaches the limit


@pytest.mark.parametrize(
    ("times", "limit_s", "stable", "calls"),
    [
        ([200, 100, 50, *[40] * 9], 60, True, 6),  # a window is one call; then three alike
        ([200, 100] * 20, 3, False, 20),  # never settles
        ([1] * 99, 3, True, 90),  # a window of a fast engine holds 30 calls
    ],
)
def test_warm_up_ends_when_three_windows_agree_or_its_time_is_up(
    fake_time: Any, times: list[float], limit_s: float, stable: bool, calls: int
) -> None:
    called: list[int] = []

    def call(index: int) -> None:
        called.append(index)
        fake_time.work(times[index])

    assert warm_up(call, fake_time.clock, limit_s=limit_s) is stable
    assert called == list(range(calls))


def test_arrivals_are_poisson_at_their_rate_and_repeatable() -> None:
    arrivals = poisson_arrivals(200.0, 50.0, 1, seed=3)
    gaps = np.diff([0, *arrivals]) / 1e9
    assert gaps.mean() == pytest.approx(1 / 200, rel=0.05)
    assert gaps.std() == pytest.approx(1 / 200, rel=0.05)  # exponential: as wide as its mean
    assert arrivals == poisson_arrivals(200.0, 50.0, 1, seed=3)
    assert arrivals != poisson_arrivals(200.0, 50.0, 1, seed=4)
    assert len(poisson_arrivals(10.0, 0.001, 25, seed=0)) == 25


def test_a_stall_shows_in_all_that_waited_for_it(fake_time: Any) -> None:
    # one second's stall in ten: a loop that waits for its answers sees one slow call in a thousand
    arrivals = [i * 10 * MS for i in range(1000)]

    def call(index: int) -> None:
        fake_time.work(1000 if index == 300 else 1)

    latencies = served(call, arrivals, fake_time)
    late = [latency for latency in latencies if latency is not None and latency > 50 * MS]
    assert len(late) > 90
    assert percentile_ms(latencies, 0.99) > 800
    alone = closed_loop(call, fake_time.clock, seconds=0.0, count=1000, limit_s=100)
    assert percentile_ms([*alone], 0.99) == 1


def test_latency_counts_from_the_scheduled_arrival(fake_time: Any) -> None:
    latencies = served(lambda _: fake_time.work(30), [0, 10 * MS, 100 * MS], fake_time)
    assert latencies[0] == 30 * MS
    assert latencies[1] == 50 * MS  # it waited 20 ms for the first
    assert 30 * MS <= latencies[2] <= 30 * MS + 20_000


def test_a_queue_that_only_grows_is_left_after_the_limit(fake_time: Any) -> None:
    arrivals = [i * MS for i in range(5000)]
    latencies = served(lambda _: fake_time.work(10), arrivals, fake_time, limit_s=10)
    answered = [latency for latency in latencies if latency is not None]
    assert 1000 <= len(answered) <= 1002
    assert latencies[-1] is None


def test_clients_work_side_by_side() -> None:
    meeting = threading.Barrier(2, timeout=10)
    served = open_loop(
        lambda _: meeting.wait(), [0, 0], time.perf_counter_ns, time.sleep, clients=2, limit_s=10
    )
    assert None not in served
    both = side_by_side(lambda client: [client, meeting.wait() * 0], 2)
    assert sorted(both) == [0, 0, 0, 1]


def test_an_error_of_a_client_is_not_lost() -> None:
    def fail(_: int) -> None:
        raise ValueError("broken engine")

    with pytest.raises(ValueError, match="broken engine"):
        open_loop(fail, [0, 0], time.perf_counter_ns, time.sleep, clients=2, limit_s=1)


def test_what_a_peer_imports_needs_nothing_but_numpy(root: Path) -> None:
    code = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in {'fer_edge', 'cv2', 'onnxruntime', 'torch'}:\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        f"sys.path.insert(0, {str(root / 'benchmarks')!r})\n"
        "import fer_bench.protocol"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
