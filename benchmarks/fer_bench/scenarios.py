"""The four scenarios, after MLPerf Inference, and the search for the rate that a server holds.

Names, query sizes, metrics and the meaning of latency (from the scheduled arrival) are MLPerf's
(MLPerf Inference rules, section "Scenarios"). The results are no MLPerf results, as these rules are
not followed: the load generator and its seeds, 600 seconds a run, early-stopping estimates in place
of percentiles, a data set in the loop, and the offline scenario's single query of 24,576 samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fer_bench.intervals import percentile
from fer_bench.launching import RoundSample
from fer_edge.errors import ConfigurationError


@dataclass(frozen=True)
class Scenario:
    """How queries come.

    ``query`` is the crops of one query, None for as many as a batch. ``batch`` is the default
    number of crops of one call.
    """

    query: int | None
    batch: int
    goal: str


SCENARIOS: dict[str, Scenario] = {
    "single-stream": Scenario(None, 1, "latency"),
    "multi-stream": Scenario(8, 8, "latency"),
    "offline": Scenario(None, 32, "throughput"),
    "server": Scenario(None, 1, "throughput"),
}

_LIMIT_S, _PATIENCE = 30.0, 3
_DAY_S = 86_400
_RANGES = {
    "rounds": (1, 10_000),
    "seconds": (1e-3, _DAY_S),
    "count": (1, 10_000_000),
    "warm_up_s": (1e-3, _DAY_S),
    "server_seconds": (1e-3, _DAY_S),
    "server_count": (1, 10_000_000),
    "rate": (1e-3, 1e5),
    "p99_bound_ms": (1e-3, 1e6),
    "clients": (1, 1024),
    "seed": (0, 1 << 53),
    "timeout_s": (1e-3, _DAY_S),
}


@dataclass(frozen=True)
class Settings:
    """How long and how often to measure.

    ``seconds`` and ``count`` are the least for all rounds of a candidate together. A server trial
    lasts at least ``server_seconds`` and ``server_count`` queries. ``rate`` fixes the server's rate
    instead of searching for the highest that holds ``p99_bound_ms``. ``clients`` is the number of
    calls side by side in the offline and server scenarios; None leaves it to the engine.
    """

    rounds: int = 10
    seconds: float = 5.0
    count: int = 50
    warm_up_s: float = 2.0
    server_seconds: float = 1.0
    server_count: int = 200
    rate: float | None = None
    p99_bound_ms: float = 10.0
    clients: int | None = None
    crop_side: int = 160
    seed: int = 0
    timeout_s: float = 300.0

    def __post_init__(self) -> None:
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise ConfigurationError(f"{name} should be {least:g} to {most:,g}, not {value}")


class Load:
    """What each round asks of one candidate: the same every time, with other arrivals."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        self._request = request

    def request(self, number: int) -> Mapping[str, Any] | None:
        """The scenario to send in round ``number``; None when there is nothing left to do."""
        return _trial(self._request, self._request["rate"], number)

    def record(self, measured: RoundSample) -> None:
        """Take the result of a round. It may decide what the next round asks."""


class RateSearch(Load):
    """The highest arrival rate whose p99 stays within ``bound_ms``, by bisection.

    The first trial sends query after query, without a queue, and shows the capacity. Then the rate
    is halved until it holds, and the gap to the lowest rate that does not hold is bisected down to
    5 %. The rate found has to hold twice more, with other arrivals. If it does not, it is lowered
    by 5 %.
    """

    CLOSE, CONFIRMATIONS = 1.05, 2

    def __init__(self, request: Mapping[str, Any], bound_ms: float) -> None:
        super().__init__(request)
        self.bound_ms = bound_ms
        self.held = 0.0
        self.failed = math.inf
        self.trials: list[RoundSample] = []
        self._alone_ms = 0.0

    @property
    def at_held(self) -> list[RoundSample]:
        """The trials at the highest rate that holds; none if it has just been lowered."""
        return [trial for trial in self.trials if trial.rate == self.held]

    @property
    def best(self) -> list[RoundSample]:
        """The trials at the highest rate that was tried and held every time."""
        rates = {trial.rate for trial in self.trials if trial.rate and self.holds(trial)}
        highest = max((rate for rate in rates if rate <= self.held), default=None)
        return [trial for trial in self.trials if trial.rate == highest]

    @property
    def finished(self) -> bool:
        """Whether no further trial could change the result."""
        return self.impossible or (self._close and len(self.at_held) > self.CONFIRMATIONS)

    @property
    def impossible(self) -> bool:
        """Whether one query without any queue already misses the bound."""
        return self._alone_ms > self.bound_ms

    @property
    def _close(self) -> bool:
        return self.held > 0 and self.failed / self.held <= self.CLOSE * (1 + 1e-9)

    def request(self, number: int) -> Mapping[str, Any] | None:
        """The next trial."""
        if self.finished:
            return None
        rate: float | None = math.sqrt(self.held * self.failed)
        if math.isinf(self.failed):
            rate = None
        elif not self.held:
            rate = self.failed / 2
        elif self._close:
            rate = self.held
        return _trial(self._request, rate, number)

    def record(self, measured: RoundSample) -> None:
        """Learn whether the rate of a trial held."""
        if measured.rate is None:
            self._alone_ms = percentile(measured.samples_ms, 0.99)
            self.failed = len(measured.samples_ms) / measured.wall_s
            return
        self.trials.append(measured)
        if self.holds(measured):
            self.held = max(self.held, measured.rate)
            return
        self.failed = min(self.failed, measured.rate)
        if self.held >= self.failed:
            self.trials = [trial for trial in self.trials if trial.rate != measured.rate]
            self.held = self.failed / self.CLOSE

    def holds(self, trial: RoundSample) -> bool:
        """Whether every query was answered and the p99 stayed within the bound."""
        return not trial.unanswered and percentile(trial.samples_ms, 0.99) <= self.bound_ms


def load_for(scenario: str, batch: int | None, settings: Settings) -> Load:
    """The load of a candidate."""
    kind = SCENARIOS[scenario]
    per_call = batch or kind.batch
    server = scenario == "server"
    parallel = kind.goal == "throughput"
    request = {
        "query": kind.query or per_call,
        "batch": per_call,
        "clients": settings.clients if parallel else 1,
        "seconds": settings.server_seconds if server else settings.seconds / settings.rounds,
        "count": settings.server_count if server else -(-settings.count // settings.rounds),
        "warm_up_s": settings.warm_up_s,
        "limit_s": _LIMIT_S,
        "rate": settings.rate if server else None,
        "seed": settings.seed,
    }
    if server and settings.rate is None:
        return RateSearch(request, settings.p99_bound_ms)
    return Load(request)


def _trial(request: Mapping[str, Any], rate: float | None, number: int) -> dict[str, Any]:
    """The request of round ``number``, with its own arrivals and a limit for a growing queue."""
    planned = 0.0 if rate is None else max(request["seconds"], request["count"] / rate)
    limit = max(request["limit_s"], _PATIENCE * planned) if rate else request["limit_s"]
    return {**request, "rate": rate, "seed": request["seed"] + number, "limit_s": limit}
