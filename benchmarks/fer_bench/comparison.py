"""Several results together: latency with accuracy, and what changed since a baseline."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from fer_bench.environment import differences
from fer_bench.intervals import Change, change_between
from fer_bench.latency_results import LatencyRow, LatencyRun
from fer_bench.measure_accuracy import AccuracyFailure, AccuracyResult, AccuracyRun
from fer_bench.paired_tests import PairedTest, paired_test, unpack_mask
from fer_bench.results import read_result
from fer_edge.errors import ConfigurationError

SEARCHED = "rate per s"
LEAST_CHANGE = 0.03
"""Smaller changes never count, because machines differ more than this from day to day."""

_SIGNIFICANT = 0.05
_NOT_IN_CSV = ("rounds", "notes", "stages_ms")
_STAGES = ("preprocess", "inference", "postprocess")
_OF_ACCURACY = ("accuracy", "accuracy_ci95", "split")


@dataclass(frozen=True)
class Collected:
    """Latency runs and accuracy results together; ``unmeasured`` has no accuracy, and says why."""

    runs: Sequence[LatencyRun]
    accuracy: Sequence[AccuracyResult] = ()
    unmeasured: Sequence[AccuracyFailure] = ()

    @property
    def latency(self) -> list[LatencyRow]:
        """The rows of all runs."""
        return [row for run in self.runs for row in run.results]


@dataclass(frozen=True)
class Dot:
    """One (model, backend, precision): its fastest single-stream row and its accuracy.

    ``latency_ms`` is the p50; ``accuracy`` is None where it was not measured; ``on_front`` says
    that no other is both faster and more accurate.
    """

    row: LatencyRow
    latency_ms: float
    latency_ci95: tuple[float, ...] | None
    accuracy: float | None
    accuracy_ci95: tuple[float, ...] | None
    split: str | None
    on_front: bool = False


@dataclass(frozen=True)
class Comparison:
    """A candidate in the baseline and now. ``what`` names the figure.

    ``change`` is None where there are too few rounds to tell noise from change, and for a rate
    that a search found.
    """

    name: str
    what: str
    old: float
    new: float
    change: Change | None
    worse: bool


@dataclass(frozen=True)
class Changes:
    """What changed since a baseline.

    ``failing`` names candidates that were measured in the baseline and fail now, ``machine`` what
    else differs and may explain a change.
    """

    latency: tuple[Comparison, ...]
    accuracy: tuple[PairedTest, ...]
    failing: tuple[str, ...] = ()
    machine: tuple[str, ...] = ()

    @property
    def worse(self) -> bool:
        """Whether anything is slower beyond noise, significantly less accurate, or fails."""
        lost = [t for t in self.accuracy if t.difference < 0 and t.p_value < _SIGNIFICANT]
        return bool(lost or self.failing) or any(entry.worse for entry in self.latency)


def collect(paths: Iterable[Path]) -> Collected:
    """Read results of ``fer-bench latency`` and ``fer-bench accuracy``.

    Raises ConfigurationError for a file that is neither.
    """
    results = [read_result(path, LatencyRun, AccuracyRun) for path in paths]
    return Collected(
        [run for run in results if isinstance(run, LatencyRun)],
        [it for run in results if isinstance(run, AccuracyRun) for it in run.results],
        [it for run in results if isinstance(run, AccuracyRun) for it in run.failures],
    )


def dots(found: Collected) -> list[Dot]:
    """The dots of the plot, the fastest first, with the Pareto front marked.

    Accuracy belongs to the same file in the same engine at the same inference precision.
    """
    best: dict[tuple[object, ...], Dot] = {}
    for row in found.latency:
        if row.kind == "bare" or row.error or row.p50_ms is None or not row.is_one_crop:
            continue
        key = (row.model, row.kind, row.sha256, row.backend, row.precision, row.inference_precision)
        if key not in best or row.p50_ms < best[key].latency_ms:
            own = accuracy_of(row, found.accuracy)
            accuracy = (own.accuracy, own.accuracy_ci95, own.split) if own else (None, None, None)
            best[key] = Dot(row, row.p50_ms, row.p50_ci95, *accuracy)
    made = list(best.values())
    front = pareto_front([(dot.latency_ms, dot.accuracy) for dot in made])
    marked = [replace(dot, on_front=on) for dot, on in zip(made, front, strict=True)]
    return sorted(marked, key=lambda dot: dot.latency_ms)


def pareto_front(points: Sequence[tuple[float, float | None]]) -> list[bool]:
    """Which points (latency, accuracy) have no other that is as good in both and better in one."""
    return [
        accuracy is not None
        and not any(
            other is not None
            and time <= latency
            and other >= accuracy
            and (time < latency or other > accuracy)
            for time, other in points
        )
        for latency, accuracy in points
    ]


def changes_since(old: Collected, new: Collected) -> Changes:
    """Compare results with a baseline. Raises ConfigurationError if they have nothing in common."""
    pairs = [(was, run) for run in new.runs for was in old.runs]
    found = Changes(
        latency=tuple(entry for pair in pairs for entry in latency_changes(*pair)),
        accuracy=tuple(accuracy_changes(old.accuracy, new.accuracy)),
        failing=tuple(line for pair in pairs for line in _newly_failing(*pair)),
        machine=tuple(line for pair in pairs for line in machine_changes(*pair)),
    )
    if not found.latency and not found.accuracy and not found.failing:
        raise ConfigurationError(
            "the baseline has no candidate in common with these results; were they measured with "
            "the same models, backends, threads, batches and scenarios?"
        )
    return found


def latency_changes(old: LatencyRun, new: LatencyRun) -> list[Comparison]:
    """Compare the candidates of both runs by their p50, offline ones by their throughput.

    The rounds of a run are its samples; the level holds for all comparisons together. The rate that
    a server holds is the result of one search and has no interval.
    """
    before = {row.key: row for row in old.results if not row.error}
    pairs = [(before[row.key], row) for row in new.results if not row.error and row.key in before]
    return [entry for was, now in pairs if (entry := _compared(was, now, comparisons=len(pairs)))]


def _compared(was: LatencyRow, now: LatencyRow, *, comparisons: int) -> Comparison | None:
    name = f"{now.name}, {now.place}"
    if now.scenario == "server":
        if not (was.rate_per_s and now.rate_per_s):
            return None
        return Comparison(name, SEARCHED, was.rate_per_s, now.rate_per_s, None, worse=False)
    offline = now.scenario == "offline"
    figure, what = ("throughput_per_s", "crops per s") if offline else ("p50_ms", "p50 ms")
    old, new = ([getattr(entry, figure) for entry in row.rounds] for row in (was, now))
    change = change_between(old, new, comparisons=comparisons, least=LEAST_CHANGE)
    slower = change is not None and (change.ratio < 1 if offline else change.ratio > 1)
    worse = bool(change and change.beyond_noise and slower)
    return Comparison(name, what, getattr(was, figure), getattr(now, figure), change, worse)


def _newly_failing(old: LatencyRun, new: LatencyRun) -> list[str]:
    """Candidates that were measured in the baseline and fail now, with the reason."""
    measured = [row for row in old.results if not row.error]
    return [
        f"{row.name}, {row.place}: measured in the baseline, and now: {row.error}"
        for row in new.results
        if row.error and any(_may_be(row, was) for was in measured)
    ]


def _may_be(failed: LatencyRow, was: LatencyRow) -> bool:
    """Whether a row that failed was asked for as the row of the baseline was."""
    exact = ("model", "kind", "scenario", "batch")
    told = ("backend", "precision", "inference_precision", "threads", "device")
    return all(getattr(failed, name) == getattr(was, name) for name in exact) and all(
        getattr(failed, name) in (None, "auto", getattr(was, name)) for name in told
    )


def accuracy_changes(
    old: Iterable[AccuracyResult], new: Iterable[AccuracyResult]
) -> list[PairedTest]:
    """McNemar's exact test of the same candidate then and now, on the same pictures."""

    def key(result: AccuracyResult) -> tuple[object, ...]:
        ran = (result.backend, result.precision, result.inference_precision)
        return (result.model, *ran, result.split, result.data_sha256)

    before = {key(result): result for result in old}
    found = []
    for now in new:
        was = before.get(key(now))
        if was is None or not (was.right and now.right):
            continue
        name = f"{now.model} ({now.backend}, {now.precision}) on {now.split}"
        try:
            right = unpack_mask(now.right, now.n), unpack_mask(was.right, was.n)
        except ValueError as problem:
            raise ConfigurationError(f"the answers of {name} are damaged: {problem}") from problem
        found.append(paired_test(name, "baseline", *right))
    return found


def machine_changes(old: LatencyRun, new: LatencyRun) -> list[str]:
    """What else differs between two runs and may explain a change."""
    found = differences(old.environment, new.environment)
    for name, run in (("baseline", old), ("new run", new)):
        found += [f"the {name}'s machine was not quiet: {line}" for line in run.noise.findings]
    return found


def comparison_csv(found: Collected) -> str:
    """Every latency row with the accuracy that belongs to it, as CSV."""
    plain = [entry.name for entry in fields(LatencyRow) if entry.name not in _NOT_IN_CSV]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*plain, *(f"{stage}_ms" for stage in _STAGES), *_OF_ACCURACY])
    for row in found.latency:
        accuracy, stages = accuracy_of(row, found.accuracy), row.stages_ms or {}
        values = [getattr(row, name) for name in plain] + [stages.get(stage) for stage in _STAGES]
        values += [getattr(accuracy, name, None) for name in _OF_ACCURACY]
        writer.writerow(" ".join(map(str, v)) if isinstance(v, tuple) else v for v in values)
    return text.getvalue()


def accuracy_of(row: LatencyRow, results: Iterable[AccuracyResult]) -> AccuracyResult | None:
    """The accuracy of a row's file in its engine; the last where there are several."""
    key = (row.sha256, row.backend, row.inference_precision)
    fitting = [
        r for r in results if (r.sha256, r.backend, r.inference_precision) == key and row.sha256
    ]
    return fitting[-1] if fitting else None
