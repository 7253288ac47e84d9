"""Times of calls, by a clock that only the calls move."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fer_edge.system.timing import call_times


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A call that takes 1, 2, 3, … seconds."""
    now, calls = [100.0], [0]
    monkeypatch.setattr("fer_edge.system.timing.perf_counter", lambda: now[0])

    def call() -> None:
        calls[0] += 1
        now[0] += calls[0]

    return call


def test_each_call_is_timed_until_the_time_has_passed(work: Callable[[], None]) -> None:
    assert call_times(work, seconds=5.5) == [1, 2, 3]


def test_some_calls_are_made_however_long_they_take(work: Callable[[], None]) -> None:
    assert call_times(work, fewest=2) == [1, 2]


def test_there_may_be_a_limit_of_calls(work: Callable[[], None]) -> None:
    assert call_times(work, most=2, seconds=100) == [1, 2]
