"""Measure latency and throughput of candidates in interleaved rounds."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from functools import cache
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

from fer_bench.candidates import Candidate
from fer_bench.environment import describe_environment
from fer_bench.intervals import RoundBootstrap, percentile
from fer_bench.latency_results import LatencyRow, LatencyRun, Ratio, RoundSummary
from fer_bench.launching import RoundSample, measure_round
from fer_bench.noise import NoiseWatch
from fer_bench.peers import prepare
from fer_bench.rounds import Launch, MeasuredRounds, run_rounds
from fer_bench.scenarios import SCENARIOS, Load, RateSearch, Settings, load_for
from fer_edge.errors import ConfigurationError
from fer_edge.images.synthetic import synthetic_crops
from fer_edge.system.progress import progress

_CROPS = 16
_RAN = (
    "sha256", "backend", "version", "device", "provider", "precision", "inference_precision",
    "threads", "size_bytes",
)  # fmt: skip
_LEVELS = {"p50": 0.50, "p90": 0.90, "p99": 0.99}
_KEEPS_UP = 0.9
"""Share of a rate that is answered in time where no queue grows; arrivals are random."""


def measure_latency(
    candidates: Sequence[Candidate],
    settings: Settings | None = None,
    *,
    launch: Launch[Candidate] | None = None,
    watch: NoiseWatch | None = None,
) -> LatencyRun:
    """Measure candidates in interleaved rounds.

    A candidate that cannot be opened is a row that says why. Ctrl-C keeps the complete rounds and
    marks the run as interrupted. Raises ConfigurationError if there is nothing to measure.
    """
    if not candidates:
        raise ConfigurationError("there is nothing to measure; name a model or a peer")
    settings = settings or Settings()
    watch = watch or NoiseWatch()
    loads = [load_for(c.scenario, c.batch, settings) for c in candidates]
    environment = describe_environment()
    with (
        _launcher(launch, settings) as start,
        progress(settings.rounds * len(candidates), "measuring") as bar,
    ):
        outcome = run_rounds(
            candidates,
            loads,
            start,
            rounds=settings.rounds,
            watch=watch,
            advance=lambda candidate: bar.advance(note=str(candidate)),
        )
    rows = [
        _row(candidate, loads[place], outcome, place, settings)
        for place, candidate in enumerate(candidates)
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
def _launcher(launch: Launch[Candidate] | None, settings: Settings) -> Iterator[Launch[Candidate]]:
    if launch is not None:
        yield launch
        return
    with tempfile.TemporaryDirectory(prefix="fer-bench-") as folder:
        crops = str(Path(folder) / "crops.npy")
        side = (settings.crop_side, settings.crop_side)
        drawn = synthetic_crops(_CROPS, settings.seed)
        np.save(crops, np.stack([cv2.resize(crop, side) for crop in drawn]))

        prepare_once = cache(prepare)

        def start(candidate: Candidate, request: Mapping[str, Any]) -> RoundSample:
            if candidate.peer and not candidate.peer.bare:
                prepare_once(candidate.peer)
            timeout_s = settings.timeout_s + request["limit_s"]
            return measure_round(candidate.program, crops, request, timeout_s)

        yield start


def _row(
    candidate: Candidate, load: Load, outcome: MeasuredRounds, place: int, settings: Settings
) -> LatencyRow:
    samples, error = outcome.samples[place], outcome.failures.get(place)
    described = samples[0].describe if samples else {}
    if error is None:
        samples, error = _judged(load, samples, settings, candidate.scenario)
    if error is None and not samples:
        error = "interrupted before a round was complete"
    row = _identity(candidate, described, error)
    return row if error else replace(row, **_figures(candidate, load, samples, settings))


def _judged(
    load: Load, samples: list[RoundSample], settings: Settings, scenario: str
) -> tuple[list[RoundSample], str | None]:
    """The samples of a row, or the reason why there are none: a server may not hold its rate."""
    if isinstance(load, RateSearch) and samples:
        if best := load.best:
            return best, None
        if not load.trials and not load.impossible:
            return [], f"no rate was tried in {len(samples)} rounds; the search takes about ten"
        alone = percentile(samples[0].samples_ms, _LEVELS["p99"])
        return [], (
            f"no rate that was tried keeps the p99 within {load.bound_ms:g} ms; without a queue it "
            f"is {alone:.3g} ms"
        )
    if scenario == "server" and samples and settings.rate is not None:
        answered = sum(len(sample.samples_ms) for sample in samples)
        reached = answered / sum(sample.wall_s for sample in samples)
        late = percentile(np.concatenate([sample.samples_ms for sample in samples]), _LEVELS["p99"])
        behind = reached < _KEEPS_UP * settings.rate and late > settings.p99_bound_ms
        if behind or any(sample.unanswered for sample in samples):
            return [], (
                f"does not hold {settings.rate:g} queries per second: it answered "
                f"{reached:.4g} per second, its queue grew, and the p99 reached {late:.4g} ms"
            )
    return samples, None


def _identity(candidate: Candidate, described: Mapping[str, Any], error: str | None) -> LatencyRow:
    """A row with what ran, or with what was asked for where nothing did."""
    return LatencyRow(
        model=candidate.model,
        kind=candidate.kind,
        title=candidate.peer.title if candidate.peer else candidate.model,
        batch=candidate.calls,
        query=SCENARIOS[candidate.scenario].query or candidate.calls,
        clients=None,
        scenario=candidate.scenario,
        error=error,
        **{name: described.get(name, getattr(candidate, name, None)) for name in _RAN},
    )


def _with_precision(row: LatencyRow, rows: Sequence[LatencyRow]) -> LatencyRow:
    """Take the precision of a bare engine's file from the model's row: the engine does not know."""
    for model in rows:
        same = (model.sha256, model.backend) == (row.sha256, row.backend) and row.sha256
        if row.kind == "bare" and model.kind == "model" and same:
            return replace(
                row, precision=model.precision, inference_precision=model.inference_precision
            )
    return row


def _figures(
    candidate: Candidate, load: Load, samples: Sequence[RoundSample], settings: Settings
) -> dict[str, Any]:
    rounds = [sample.samples_ms for sample in samples]
    pooled = np.concatenate(rounds)
    bootstrap = RoundBootstrap(len(samples), seed=settings.seed)
    figures: dict[str, Any] = {}
    for name, level in _LEVELS.items():
        figures[f"{name}_ms"] = percentile(pooled, level)
        figures[f"{name}_ci95"] = bootstrap.interval(bootstrap.percentiles(rounds, level))
    for name in ("cold_ms", "load_ms", "first_call_ms", "rss_mb"):
        known = [v for sample in samples if (v := getattr(sample, name)) is not None]
        figures[name] = median(known) if known else None
    first, search = samples[0], load if isinstance(load, RateSearch) else None
    predictions = [sample.predictions for sample in samples]
    walls = [sample.wall_s for sample in samples]
    rate = first.rate if search else settings.rate
    return figures | {
        "clients": first.clients,
        "batch": first.batch,
        "notes": tuple(_notes(samples, search, len(pooled))),
        "count": len(pooled),
        "mean_ms": float(pooled.mean()),
        "max_ms": float(pooled.max()),
        "throughput_per_s": sum(predictions) / sum(walls),
        "throughput_ci95": bootstrap.interval(bootstrap.ratios(predictions, walls)),
        "rate_per_s": rate if candidate.scenario == "server" else None,
        "p99_bound_ms": search.bound_ms if search else None,
        "stages_ms": {
            name: median(sample.stages_ms[name] for sample in samples) for name in first.stages_ms
        },
        "peak_rss_mb": max(sample.peak_rss_mb for sample in samples),
        "cpu_s_per_1000": 1000 * sum(sample.cpu_s for sample in samples) / max(sum(predictions), 1),
        "rounds": tuple(map(_summary, samples)),
    }


def _summary(sample: RoundSample) -> RoundSummary:
    times = sample.samples_ms
    p50, p90, p99 = (percentile(times, level) for level in _LEVELS.values())
    rate = sample.predictions / sample.wall_s
    return RoundSummary(len(times), p50, p90, p99, float(times.mean()), rate, sample.cold_ms)


def _notes(samples: Sequence[RoundSample], search: RateSearch | None, count: int) -> Iterator[str]:
    unsteady = sum(not sample.warm for sample in samples)
    if unsteady:
        yield f"warming up did not become stable in {unsteady} of {len(samples)} rounds"
    if count < 1 / (1 - _LEVELS["p99"]):
        yield f"the p99 of {count} queries is their slowest"
    if search and not search.finished:
        yield (
            "the search ended before the rate was confirmed; the highest rate that holds may be "
            f"anything below {search.failed:.4g} per second"
        )


def _ratios(rows: Sequence[LatencyRow], outcome: MeasuredRounds, seed: int) -> Iterator[Ratio]:
    """Pair by pair within a scenario, over the rounds that both have."""
    if not outcome.rounds:
        return
    bootstrap = RoundBootstrap(outcome.rounds, seed=seed)
    draws = {
        place: bootstrap.percentiles(
            [sample.samples_ms for sample in outcome.samples[place]], _LEVELS["p50"]
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
