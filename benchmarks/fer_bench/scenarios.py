"""The four scenarios, after MLPerf Inference, and the search for the rate that a server holds.

Names, query sizes, metrics and the meaning of latency (from the scheduled arrival) are MLPerf's
(MLPerf Inference rules, section "Scenarios"). The results are no MLPerf results, as these rules are
not followed: the load generator and its seeds, 600 seconds a run, early-stopping estimates in place
of percentiles, a data set in the loop, and the offline scenario's single query of 24,576 samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
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


def _within(default: Any, least: float, most: float) -> Any:
    """A field of Settings that is None or lies between two bounds."""
    return field(default=default, metadata={"range": (least, most)})


@dataclass(frozen=True)
class Settings:
    """How long and how often to measure.

    ``seconds`` and ``count`` are the least for all rounds of a candidate together. A server trial
    lasts at least ``server_seconds`` and ``server_count`` queries. ``rate`` fixes the server's rate
    instead of searching for the highest that holds ``p99_bound_ms``. ``clients`` is the number of
    calls side by side in the offline and server scenarios; None leaves it to the engine.
    """

    rounds: int = _within(10, 1, 10_000)
    seconds: float = _within(5.0, 1e-3, _DAY_S)
    count: int = _within(50, 1, 10_000_000)
    warm_up_s: float = _within(2.0, 1e-3, _DAY_S)
    server_seconds: float = _within(1.0, 1e-3, _DAY_S)
    server_count: int = _within(200, 1, 10_000_000)
    rate: float | None = _within(None, 1e-3, 1e5)
    p99_bound_ms: float = _within(10.0, 1e-3, 1e6)
    clients: int | None = _within(None, 1, 1024)
    crop_side: int = 160
    seed: int = _within(0, 0, 1 << 53)
    timeout_s: float = _within(300.0, 1e-3, _DAY_S)

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            least, most = entry.metadata.get("range", (-math.inf, math.inf))
            if value is not None and not least <= value <= most:
                raise ConfigurationError(
                    f"{entry.name} should be {least:g} to {most:,g}, not {value}"
                )


class RateSearch:
    """The highest arrival rate whose p99 stays within ``bound_ms``, by bisection.

    The first trial sends query after query, without a queue, and shows the capacity. Then the rate
    is halved until it holds, and the gap to the lowest rate that does not hold is bisected down to
    5 %. The rate found has to hold twice more, with other arrivals. If it does not, it is lowered
    by 5 %.
    """

    CLOSE, CONFIRMATIONS = 1.05, 2

    def __init__(self, bound_ms: float) -> None:
        self.bound_ms = bound_ms
        self.held = 0.0
        self.failed = math.inf
        self.trials: list[RoundSample] = []
        self._alone_ms = 0.0

    @property
    def best(self) -> list[RoundSample]:
        """The trials at the highest rate that was tried and held every time."""
        rates = {trial.rate for trial in self.trials if trial.rate and self.holds(trial)}
        highest = max((rate for rate in rates if rate <= self.held), default=None)
        return [trial for trial in self.trials if trial.rate == highest]

    @property
    def finished(self) -> bool:
        """Whether no further trial could change the result."""
        at_held = [trial for trial in self.trials if trial.rate == self.held]
        return self.impossible or (self._close and len(at_held) > self.CONFIRMATIONS)

    @property
    def impossible(self) -> bool:
        """Whether one query without any queue already misses the bound."""
        return self._alone_ms > self.bound_ms

    @property
    def _close(self) -> bool:
        return self.held > 0 and self.failed / self.held <= self.CLOSE * (1 + 1e-9)

    @property
    def rate(self) -> float | None:
        """The arrivals per second of the next trial; None for query after query."""
        if math.isinf(self.failed):
            return None
        if not self.held:
            return self.failed / 2
        return self.held if self._close else math.sqrt(self.held * self.failed)

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


def request_for(scenario: str, batch: int | None, settings: Settings) -> dict[str, Any]:
    """What a round asks the process that is measured; ``trial`` completes it."""
    kind = SCENARIOS[scenario]
    per_call = batch or kind.batch
    server = scenario == "server"
    return {
        "query": kind.query or per_call,
        "batch": per_call,
        "clients": settings.clients if kind.goal == "throughput" else 1,
        "seconds": settings.server_seconds if server else settings.seconds / settings.rounds,
        "count": settings.server_count if server else -(-settings.count // settings.rounds),
        "warm_up_s": settings.warm_up_s,
        "rate": settings.rate if server else None,
        "seed": settings.seed,
    }


def trial(request: Mapping[str, Any], rate: float | None, number: int) -> dict[str, Any]:
    """The request of round ``number``, with its own arrivals and a limit for a growing queue."""
    planned = max(request["seconds"], request["count"] / rate) if rate else 0.0
    limit = max(_LIMIT_S, _PATIENCE * planned)
    return {**request, "rate": rate, "seed": request["seed"] + number, "limit_s": limit}
