"""Measure latency and throughput of candidates in interleaved rounds.

The candidates take turns, A B C A B C, so that a drift of the machine affects all alike. Each turn
is a fresh process and gives a cold start. The intervals then cover what differs from one start to
the next, such as memory layout (Kalibera and Jones, "Rigorous Benchmarking in Reasonable Time",
ISMM 2013).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import cache
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

import cv2
import numpy as np

from fer_bench.candidates import Candidate
from fer_bench.environment import describe_environment
from fer_bench.intervals import RoundBootstrap, percentile
from fer_bench.latency_results import LatencyRow, LatencyRun, Ratio, RoundSummary
from fer_bench.launching import RoundSample, measure_round
from fer_bench.noise import NoiseWatch
from fer_bench.peers import prepare
from fer_bench.scenarios import SCENARIOS, RateSearch, Settings, request_for, trial
from fer_edge.errors import ConfigurationError, FerEdgeError, GateError
from fer_edge.images.synthetic import synthetic_crops
from fer_edge.system.progress import Progress, progress

_CROPS = 16
_RAN = (
    "sha256", "backend", "version", "device", "provider", "precision", "inference_precision",
    "threads", "size_bytes",
)  # fmt: skip
_LEVELS = {"p50": 0.50, "p90": 0.90, "p99": 0.99}
_KEEPS_UP = 0.9
"""Share of a rate that is answered in time where no queue grows; arrivals are random."""

Launch: TypeAlias = Callable[[Candidate, Mapping[str, Any]], RoundSample]


@dataclass(eq=False)
class Turns:
    """The turns of one candidate: the samples of complete rounds, or why it was dropped.

    Each round asks the same, with other arrivals, unless a ``search`` chooses the rate.
    """

    candidate: Candidate
    request: Mapping[str, Any]
    search: RateSearch | None = None
    samples: list[RoundSample] = field(default_factory=list)
    error: str | None = None
    exit_code: int = GateError.exit_code

    def trial(self, number: int) -> Mapping[str, Any] | None:
        """The scenario to send in round ``number``; None when there is nothing left to do."""
        if self.error or (self.search and self.search.finished):
            return None
        rate = self.search.rate if self.search else self.request["rate"]
        return trial(self.request, rate, number)

    def record(self, sample: RoundSample) -> None:
        """Take the result of a round. It may decide what the next round asks."""
        self.samples.append(sample)
        if self.search:
            self.search.record(sample)


def measure_latency(
    candidates: Sequence[Candidate],
    settings: Settings | None = None,
    *,
    launch: Launch | None = None,
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
    measured = [_turns(candidate, settings) for candidate in candidates]
    environment = describe_environment()
    with (
        tempfile.TemporaryDirectory(prefix="fer-bench-") as folder,
        progress(settings.rounds * len(candidates), "measuring") as bar,
    ):
        launch = launch or _launcher(Path(folder) / "crops.npy", settings)
        rounds = 0
        with suppress(KeyboardInterrupt):
            while rounds < settings.rounds:
                _run_round(rounds, measured, launch, watch, bar)
                rounds += 1
    rows = [_row(turns, settings) for turns in measured]
    rows = [_with_precision(row, rows) for row in rows]
    return LatencyRun(
        environment=environment,
        settings=settings,
        noise=watch.verdict(),
        rounds=rounds,
        interrupted=rounds < settings.rounds,
        results=tuple(rows),
        ratios=tuple(_ratios(rows, measured, rounds, settings.seed)),
        measured_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def _run_round(
    number: int, measured: Sequence[Turns], launch: Launch, watch: NoiseWatch, bar: Progress
) -> None:
    """Give each candidate its turn; one that fails is left out of later rounds."""
    samples: list[tuple[Turns, RoundSample]] = []
    for turns in measured:
        if request := turns.trial(number):
            try:
                with watch.around():
                    samples.append((turns, launch(turns.candidate, request)))
            except FerEdgeError as problem:
                turns.error, turns.exit_code = str(problem), problem.exit_code
        bar.advance(note=str(turns.candidate))
    for turns, sample in samples:
        turns.record(sample)


def _turns(candidate: Candidate, settings: Settings) -> Turns:
    searched = candidate.scenario == "server" and settings.rate is None
    search = RateSearch(settings.p99_bound_ms) if searched else None
    return Turns(candidate, request_for(candidate.scenario, candidate.batch, settings), search)


def _launcher(crops: Path, settings: Settings) -> Launch:
    """Draw the crops into a file, for the processes that are measured on them."""
    side = (settings.crop_side, settings.crop_side)
    drawn = synthetic_crops(_CROPS, settings.seed)
    np.save(crops, np.stack([cv2.resize(crop, side) for crop in drawn]))
    prepare_once = cache(prepare)

    def start(candidate: Candidate, request: Mapping[str, Any]) -> RoundSample:
        if candidate.peer and not candidate.peer.bare:
            prepare_once(candidate.peer)
        timeout_s = settings.timeout_s + request["limit_s"]
        return measure_round(candidate.program, str(crops), request, timeout_s)

    return start


def _row(turns: Turns, settings: Settings) -> LatencyRow:
    """A row of figures, or of what was asked for and why there are none."""
    candidate, samples, search = turns.candidate, turns.samples, turns.search
    described = samples[0].describe if samples else {}
    error = turns.error or (None if samples else "interrupted before a round was complete")
    if not error and search:
        samples = search.best
        error = None if samples else _no_rate(search, turns.samples)
    elif not error and candidate.scenario == "server":
        error = _rate_not_held(samples, settings)
    values: dict[str, Any] = {
        name: described.get(name, getattr(candidate, name, None)) for name in _RAN
    }
    values |= {
        "model": candidate.model,
        "kind": candidate.kind,
        "title": candidate.peer.title if candidate.peer else candidate.model,
        "batch": candidate.crops_per_call,
        "query": SCENARIOS[candidate.scenario].query or candidate.crops_per_call,
        "clients": None,
        "scenario": candidate.scenario,
    }
    if error:
        return LatencyRow(**values, error=error, exit_code=turns.exit_code)
    values |= _figures(samples, settings.seed)
    values["notes"] = tuple(_notes(samples, search))
    if candidate.scenario == "server":
        values["rate_per_s"] = samples[0].rate
        values["p99_bound_ms"] = search.bound_ms if search else None
    return LatencyRow(**values)


def _no_rate(search: RateSearch, samples: Sequence[RoundSample]) -> str:
    """Why a search found no rate."""
    if not search.trials and not search.impossible:
        return f"no rate was tried in {len(samples)} rounds; the search takes about ten"
    alone = percentile(samples[0].samples_ms, _LEVELS["p99"])
    return (
        f"no rate that was tried keeps the p99 within {search.bound_ms:g} ms; without a queue it "
        f"is {alone:.3g} ms"
    )


def _rate_not_held(samples: Sequence[RoundSample], settings: Settings) -> str | None:
    """Why the server does not hold the rate that was asked for; None if it does."""
    rate = settings.rate or 0.0
    answered = np.concatenate([sample.samples_ms for sample in samples])
    reached = len(answered) / sum(sample.wall_s for sample in samples)
    late = percentile(answered, _LEVELS["p99"])
    behind = reached < _KEEPS_UP * rate and late > settings.p99_bound_ms
    if not behind and not any(sample.unanswered for sample in samples):
        return None
    return (
        f"does not hold {rate:g} queries per second: it answered {reached:.4g} per second, its "
        f"queue grew, and the p99 reached {late:.4g} ms"
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


def _figures(samples: Sequence[RoundSample], seed: int) -> dict[str, Any]:
    rounds = [sample.samples_ms for sample in samples]
    pooled = np.concatenate(rounds)
    bootstrap = RoundBootstrap(len(samples), seed=seed)
    figures: dict[str, Any] = {}
    draws = bootstrap.percentiles(rounds, *_LEVELS.values())
    for (name, level), drawn in zip(_LEVELS.items(), draws, strict=True):
        figures[f"{name}_ms"] = percentile(pooled, level)
        figures[f"{name}_ci95"] = bootstrap.interval(drawn)
    for name in ("cold_ms", "load_ms", "first_call_ms", "rss_mb"):
        known = [v for sample in samples if (v := getattr(sample, name)) is not None]
        figures[name] = median(known) if known else None
    predictions = [sample.predictions for sample in samples]
    walls = [sample.wall_s for sample in samples]
    return figures | {
        "clients": samples[0].clients,
        "batch": samples[0].batch,
        "count": len(pooled),
        "mean_ms": float(pooled.mean()),
        "max_ms": float(pooled.max()),
        "throughput_per_s": sum(predictions) / sum(walls),
        "throughput_ci95": bootstrap.interval(bootstrap.ratios(predictions, walls)),
        "stages_ms": {
            name: median(sample.stages_ms[name] for sample in samples)
            for name in samples[0].stages_ms
        },
        "peak_rss_mb": max(sample.peak_rss_mb for sample in samples),
        "cpu_s_per_1000": 1000 * sum(sample.cpu_s for sample in samples) / sum(predictions),
        "rounds": tuple(map(_summary, samples)),
    }


def _summary(sample: RoundSample) -> RoundSummary:
    times = sample.samples_ms
    p50, p90, p99 = (percentile(times, level) for level in _LEVELS.values())
    rate = sample.predictions / sample.wall_s
    return RoundSummary(len(times), p50, p90, p99, float(times.mean()), rate, sample.cold_ms)


def _notes(samples: Sequence[RoundSample], search: RateSearch | None) -> Iterator[str]:
    unsteady = sum(not sample.warm for sample in samples)
    count = sum(len(sample.samples_ms) for sample in samples)
    if unsteady:
        yield f"warming up did not become stable in {unsteady} of {len(samples)} rounds"
    if count < 1 / (1 - _LEVELS["p99"]):
        yield f"the p99 of {count} queries is their slowest"
    if search and not search.finished:
        yield (
            "the search ended before the rate was confirmed; the highest rate that holds may be "
            f"anything below {search.failed:.4g} per second"
        )


def _ratios(
    rows: Sequence[LatencyRow], measured: Sequence[Turns], rounds: int, seed: int
) -> Iterator[Ratio]:
    """Pair by pair within a scenario, over the rounds that both have."""
    if not rounds:
        return
    bootstrap = RoundBootstrap(rounds, seed=seed)
    drawn = [
        (place, row, row.p50_ms, bootstrap.percentiles([s.samples_ms for s in turns.samples], 0.5))
        for place, (row, turns) in enumerate(zip(rows, measured, strict=True))
        if row.p50_ms is not None and row.scenario != "server"
    ]
    for (first, one, p50, draws), (second, other, other_p50, other_draws) in combinations(drawn, 2):
        if (one.scenario, one.query) == (other.scenario, other.query):
            interval = bootstrap.interval(draws[0] / other_draws[0])
            yield Ratio(first, second, p50 / other_p50, interval)
