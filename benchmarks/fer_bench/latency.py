"""Measuring latency and throughput of contestants, and what comes of it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

from fer_bench.contestants import Contestant
from fer_bench.environment import describe_environment
from fer_bench.intervals import RoundBootstrap, percentile
from fer_bench.launching import Slice, measure_slice
from fer_bench.noise import NoiseWatch
from fer_bench.peers import prepare
from fer_bench.results import LatencyRow, LatencyRun, Ratio, RoundSummary
from fer_bench.rounds import Launch, Outcome, run_rounds
from fer_bench.scenarios import SCENARIOS, Load, RateSearch, Settings, load_for
from fer_edge.errors import ConfigurationError, FerEdgeError
from fer_edge.images.synthetic import synthetic_crops
from fer_edge.system.progress import progress, track

__all__ = ["measure_latency"]

_CROPS = 16
_LEVELS = {"p50": 0.50, "p90": 0.90, "p99": 0.99}
_KEEPS_UP = 0.9
"""Share of a rate that is answered in time where no queue grows; arrivals are random."""


def measure_latency(
    contestants: Sequence[Contestant],
    settings: Settings | None = None,
    *,
    launch: Launch[Contestant] | None = None,
    watch: NoiseWatch | None = None,
) -> LatencyRun:
    """Measure contestants in interleaved rounds.

    A contestant that cannot be opened is a row that says why. Ctrl-C keeps the complete rounds and
    marks the run as interrupted. Raises ConfigurationError if there is nothing to measure.
    """
    if not contestants:
        raise ConfigurationError("there is nothing to measure; name a model or a peer")
    settings = settings or Settings()
    watch = watch or NoiseWatch()
    loads = [load_for(c.scenario, c.batch, settings) for c in contestants]
    environment = describe_environment()
    with _launcher(launch, settings) as start:
        unprepared = _prepare(contestants) if launch is None else {}
        ready = [place for place in range(len(contestants)) if place not in unprepared]
        rounds = settings.rounds
        with progress(rounds * len(ready), "measuring") as bar:
            measured = run_rounds(
                [contestants[place] for place in ready],
                [loads[place] for place in ready],
                start,
                rounds=rounds,
                watch=watch,
                advance=lambda contestant: bar.advance(note=str(contestant)),
            )
    outcome = _placed(measured, ready, len(contestants))
    outcome.failures |= unprepared
    rows = [
        _row(contestant, loads[place], outcome, place, settings)
        for place, contestant in enumerate(contestants)
    ]
    rows = [_with_precision(row, rows) for row in rows]
    return LatencyRun(
        environment=environment,
        settings=settings,
        noise=watch.verdict(),
        rounds=outcome.rounds,
        interrupted=outcome.interrupted,
        results=tuple(rows),
        ratios=tuple(_ratios(rows, outcome, settings.seed)),
        measured_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


@contextmanager
def _launcher(
    launch: Launch[Contestant] | None, settings: Settings
) -> Iterator[Launch[Contestant]]:
    if launch is not None:
        yield launch
        return
    with tempfile.TemporaryDirectory(prefix="fer-bench-") as folder:
        crops = str(Path(folder) / "crops.npy")
        side = (settings.crop_side, settings.crop_side)
        drawn = synthetic_crops(_CROPS, settings.seed)
        np.save(crops, np.stack([cv2.resize(crop, side) for crop in drawn]))

        def start(contestant: Contestant, request: Mapping[str, Any]) -> Slice:
            timeout_s = settings.timeout_s + request["limit_s"]
            return measure_slice(contestant.program, crops, request, timeout_s)

        yield start


def _prepare(contestants: Sequence[Contestant]) -> dict[int, str]:
    """Let each peer make its graph, once; the places of those that cannot, and why."""
    peers = dict.fromkeys(c.peer for c in contestants if c.peer and not c.peer.bare)
    reasons = {}
    for peer in track(peers, len(peers), "preparing peers"):
        try:
            prepare(peer)
        except FerEdgeError as problem:
            reasons[peer] = str(problem)
    return {
        place: reasons[contestant.peer]
        for place, contestant in enumerate(contestants)
        if contestant.peer in reasons
    }


def _placed(measured: Outcome, ready: Sequence[int], count: int) -> Outcome:
    """The outcome with the places of all ``count`` contestants; ``ready`` are those that ran."""
    slices: list[list[Slice]] = [[] for _ in range(count)]
    for place, own in zip(ready, measured.slices, strict=True):
        slices[place] = own
    failures = {ready[place]: reason for place, reason in measured.failures.items()}
    return Outcome(slices, failures, measured.rounds, measured.interrupted)


def _row(
    contestant: Contestant, load: Load, outcome: Outcome, place: int, settings: Settings
) -> LatencyRow:
    slices, error = outcome.slices[place], outcome.failures.get(place)
    if error is None:
        slices, error = _judged(load, slices, settings, contestant.scenario)
    described = outcome.slices[place][0].describe if outcome.slices[place] else {}
    row = _identity(contestant, described, error)
    if error is not None or not slices:
        return row if error else replace(row, error="interrupted before a round was complete")
    return replace(row, **_figures(contestant, load, slices, settings))


def _judged(
    load: Load, slices: list[Slice], settings: Settings, scenario: str
) -> tuple[list[Slice], str | None]:
    """The slices that a row is made of, or why there is none; a server may not hold a rate."""
    if isinstance(load, RateSearch) and slices:
        if best := load.best:
            return best, None
        if not load.trials and not load.impossible:
            return [], f"no rate was tried in {len(slices)} rounds; the search takes about ten"
        alone = percentile(slices[0].samples_ms, _LEVELS["p99"])
        return [], (
            f"no rate that was tried holds a p99 of {load.bound_ms:g} ms; without a queue it is "
            f"{alone:.3g} ms"
        )
    if scenario == "server" and slices and settings.rate is not None:
        answered = sum(len(piece.samples_ms) for piece in slices)
        reached = answered / sum(piece.wall_s for piece in slices)
        late = percentile(np.concatenate([piece.samples_ms for piece in slices]), _LEVELS["p99"])
        behind = reached < _KEEPS_UP * settings.rate and late > settings.p99_bound_ms
        if behind or any(piece.unanswered for piece in slices):
            return [], (
                f"does not hold {settings.rate:g} queries per second: it answered "
                f"{reached:.4g} per second, its queue grew, and the p99 reached {late:.4g} ms"
            )
    return slices, None


def _identity(
    contestant: Contestant, described: Mapping[str, Any], error: str | None
) -> LatencyRow:
    scenario = SCENARIOS[contestant.scenario]
    return LatencyRow(
        model=contestant.model,
        kind=contestant.kind,
        title=contestant.peer.title if contestant.peer else contestant.model,
        sha256=described.get("sha256"),
        backend=described.get("backend", contestant.backend),
        version=described.get("version"),
        device=described.get("device", contestant.device),
        provider=described.get("provider"),
        precision=described.get("precision", contestant.precision),
        inference_precision=described.get("inference_precision", contestant.inference_precision),
        threads=described.get("threads", contestant.threads),
        batch=contestant.calls,
        query=scenario.query or contestant.calls,
        clients=None,
        scenario=contestant.scenario,
        error=error,
        size_bytes=described.get("size_bytes"),
    )


def _with_precision(row: LatencyRow, rows: Sequence[LatencyRow]) -> LatencyRow:
    """A bare engine does not know the precision of a file of ours; the model's own row does."""
    for model in rows:
        same = (model.sha256, model.backend) == (row.sha256, row.backend) and row.sha256
        if row.kind == "bare" and model.kind == "model" and same:
            return replace(
                row, precision=model.precision, inference_precision=model.inference_precision
            )
    return row


def _figures(
    contestant: Contestant, load: Load, slices: Sequence[Slice], settings: Settings
) -> dict[str, Any]:
    rounds = [piece.samples_ms for piece in slices]
    pooled = np.concatenate(rounds)
    bootstrap = RoundBootstrap(len(slices), seed=settings.seed)
    figures: dict[str, Any] = {}
    for name, level in _LEVELS.items():
        figures[f"{name}_ms"] = percentile(pooled, level)
        figures[f"{name}_ci95"] = bootstrap.interval(bootstrap.percentiles(rounds, level))
    predictions = [piece.predictions for piece in slices]
    walls = [piece.wall_s for piece in slices]
    server = contestant.scenario == "server"
    rate = slices[0].rate if isinstance(load, RateSearch) else settings.rate
    return figures | {
        "clients": slices[0].clients,
        "batch": slices[0].batch,
        "notes": tuple(_notes(slices, load, len(pooled))),
        "count": len(pooled),
        "mean_ms": float(pooled.mean()),
        "max_ms": float(pooled.max()),
        "throughput_per_s": sum(predictions) / sum(walls),
        "throughput_ci95": bootstrap.interval(bootstrap.ratios(predictions, walls)),
        "rate_per_s": rate if server else None,
        "p99_bound_ms": load.bound_ms if isinstance(load, RateSearch) else None,
        "stages_ms": {
            name: median(piece.stages_ms[name] for piece in slices) for name in slices[0].stages_ms
        },
        "cold_ms": median(piece.cold_ms for piece in slices),
        "load_ms": median(piece.load_ms for piece in slices),
        "first_call_ms": median(piece.first_call_ms for piece in slices),
        "rss_mb": _median_of([piece.rss_mb for piece in slices]),
        "peak_rss_mb": max(piece.peak_rss_mb for piece in slices),
        "cpu_s_per_1000": 1000 * sum(piece.cpu_s for piece in slices) / max(sum(predictions), 1),
        "rounds": tuple(_summary(piece) for piece in slices),
    }


def _summary(piece: Slice) -> RoundSummary:
    samples = piece.samples_ms
    p50, p90, p99 = (percentile(samples, level) for level in _LEVELS.values())
    return RoundSummary(
        len(samples),
        p50,
        p90,
        p99,
        float(samples.mean()),
        piece.predictions / piece.wall_s,
        piece.cold_ms,
    )


def _notes(slices: Sequence[Slice], load: Load, count: int) -> Iterator[str]:
    unsteady = sum(not piece.warm for piece in slices)
    if unsteady:
        yield f"warming up did not become stable in {unsteady} of {len(slices)} rounds"
    if count < 1 / (1 - _LEVELS["p99"]):
        yield f"the p99 of {count} queries is their slowest"
    if isinstance(load, RateSearch) and not load.finished:
        yield (
            f"the search ended before the rate was confirmed; below {load.failed:.4g} per second "
            "it is open"
        )


def _ratios(rows: Sequence[LatencyRow], outcome: Outcome, seed: int) -> Iterator[Ratio]:
    """Pair by pair within a scenario, over the rounds that both have."""
    if not outcome.rounds:
        return
    bootstrap = RoundBootstrap(outcome.rounds, seed=seed)
    draws = {
        place: bootstrap.percentiles(
            [piece.samples_ms for piece in outcome.slices[place]], _LEVELS["p50"]
        )
        for place, row in enumerate(rows)
        if row.p50_ms is not None and row.scenario != "server"
    }
    for first, second in combinations(draws, 2):
        one, other = rows[first], rows[second]
        if (one.scenario, one.query) == (other.scenario, other.query):
            assert one.p50_ms is not None  # noqa: S101 - draws hold measured rows alone
            assert other.p50_ms is not None  # noqa: S101
            interval = bootstrap.interval(draws[first] / draws[second])
            yield Ratio(first, second, one.p50_ms / other.p50_ms, interval)


def _median_of(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
