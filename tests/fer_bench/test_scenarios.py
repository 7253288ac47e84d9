"""What each scenario asks, and the search for the rate that a server holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fer_bench.intervals import percentile
from fer_bench.launching import RoundSample
from fer_bench.scenarios import RateSearch, Settings, request_for, trial
from fer_edge import ConfigurationError

Request = dict[str, Any]


def search(
    measure: Callable[[Request], RoundSample], settings: Settings, most: int = 40
) -> RateSearch:
    load, asked = RateSearch(settings.p99_bound_ms), request_for("server", None, settings)
    for number in range(most):
        if load.finished:
            break
        load.record(measure(trial(asked, load.rate, number)))
    return load


def at_held(load: RateSearch) -> list[RoundSample]:
    return [trial for trial in load.trials if trial.rate == load.held]


def test_the_search_finds_the_highest_rate_that_holds(server: Any) -> None:
    settings = Settings(server_seconds=10.0, server_count=1000, p99_bound_ms=10.0)
    measure = server(2.0)
    found = search(measure, settings)
    assert found.finished
    assert len(at_held(found)) == 3
    assert all(found.holds(trial) for trial in at_held(found))
    assert found.failed / found.held <= 1.0501
    # judged on a far longer run: well below it holds, well above it does not
    for share, holds in ((0.85, True), (1.2, False)):
        asked = {**request_for("server", None, settings), "seconds": 100.0, "seed": 99}
        longer = measure(trial(asked, found.held * share, 0))
        assert (percentile(longer.samples_ms, 0.99) <= 10.0) is holds
    assert 200 < found.held < 500  # 500 is what it can do at all


def test_a_bound_below_the_service_time_is_impossible_at_once(server: Any) -> None:
    found = search(server(25.0), Settings(p99_bound_ms=10.0))
    assert found.impossible
    assert found.held == 0
    assert found.trials == []


def test_a_rate_that_fails_to_hold_again_is_lowered(make_sample: Any) -> None:
    load = RateSearch(10.0)
    load.record(make_sample([1.0] * 100, rate=None))  # capacity 1000 per second
    load.record(make_sample([1.0] * 100, rate=980.0))
    assert (load.held, len(at_held(load))) == (980.0, 1)
    load.record(make_sample([99.0] * 100, rate=980.0))
    assert load.failed == 980.0
    assert load.held == pytest.approx(980 / 1.05)
    assert (at_held(load), load.finished) == ([], False)
    assert load.best == []
    assert load.rate == load.held


def test_where_a_search_ends_too_early_the_best_rate_that_held_counts(make_sample: Any) -> None:
    load = RateSearch(10.0)
    load.record(make_sample([1.0] * 100, rate=None))
    for rate, latency in ((500.0, 1.0), (700.0, 1.0), (700.0, 99.0)):
        load.record(make_sample([latency] * 100, rate=rate))
    assert at_held(load) == []
    assert [trial.rate for trial in load.best] == [500.0]


def test_unanswered_queries_do_not_hold(make_sample: Any) -> None:
    load = RateSearch(10.0)
    assert load.holds(make_sample([1.0] * 10))
    assert not load.holds(make_sample([1.0] * 10, unanswered=1))


def first(scenario: str, batch: int | None = None, **settings: Any) -> Request:
    """What the first round asks."""
    asked = request_for(scenario, batch, Settings(**settings))
    return trial(asked, asked["rate"], 0)


@pytest.mark.parametrize(
    ("scenario", "batch", "query", "calls", "clients"),
    [
        ("single-stream", None, 1, 1, 1),
        ("single-stream", 4, 4, 4, 1),
        ("multi-stream", None, 8, 8, 1),
        ("multi-stream", 2, 8, 2, 1),
        ("offline", None, 32, 32, None),
        ("offline", 16, 16, 16, None),
        ("server", None, 1, 1, None),
    ],
)
def test_queries_are_those_of_the_scenario(
    scenario: str, batch: int | None, query: int, calls: int, clients: int | None
) -> None:
    request = first(scenario, batch)
    assert (request["query"], request["batch"], request["clients"]) == (query, calls, clients)


def test_time_and_count_are_shared_out_to_the_rounds() -> None:
    request = first("single-stream", rounds=4, seconds=2.0, count=10)
    assert (request["seconds"], request["count"], request["rate"]) == (0.5, 3, None)


def test_arrivals_differ_by_round_and_repeat_by_seed() -> None:
    asked = request_for("server", None, Settings(rate=50.0, seed=7))
    requests = [trial(asked, 50.0, number) for number in range(3)]
    assert [request["seed"] for request in requests] == [7, 8, 9]
    assert {request["rate"] for request in requests} == {50.0}


def test_a_slow_rate_gets_the_time_that_it_needs() -> None:
    assert first("server", rate=0.5, server_count=100)["limit_s"] >= 200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("rate", rate) for rate in (0.0, -5.0, np.nan, np.inf, 1e12)],
        *[("seconds", 0.0), ("seconds", np.nan), ("p99_bound_ms", 0.0)],
        *[("rounds", 0), ("count", -1), ("clients", 0), ("seed", -1)],
    ],
)
def test_settings_that_cannot_be_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} should be"):
        Settings(**{name: value})
