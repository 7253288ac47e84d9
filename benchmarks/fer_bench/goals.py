"""What the packaged model aims at beside what else there is, and whether a run of all shows it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fer_bench.accuracy import AccuracyResult, AccuracyRun
from fer_bench.results import LatencyRow, LatencyRun
from fer_bench.tables import markdown_table, times

__all__ = ["Verdict", "goal_table", "verdicts"]

FASTER = (
    ("openvino", "vit-b16-onnxruntime", 800.0),
    ("onnxruntime", "vit-b16-onnxruntime", 600.0),
    ("openvino", "efficientnet-b0-onnxruntime", 20.0),
    ("openvino", "fer", 1.0),
)
"""Our engine, the peer, and how many times as fast INT8 on one thread should be at least."""

OVERHEAD = 1.15
"""What ``Predictor`` may take, as a multiple of the engine's own loop."""

POINTS = 3.0
"""Points of accuracy above the peer that knows the seven emotions."""

_LABELLED = "fer"


@dataclass(frozen=True)
class Verdict:
    """One aim; ``measured`` and ``kept`` are None where the run does not have both sides."""

    aim: str
    wanted: str
    measured: str | None
    kept: bool | None


def verdicts(latency: LatencyRun, accuracy: AccuracyRun | None) -> Iterator[Verdict]:
    """Judge every aim by point estimates; the intervals stand in the page's other tables."""
    for backend, peer, wanted in FASTER:
        ours = _place(latency, kind="model", backend=backend, precision="int8")
        ratio = _ratio(latency, _place(latency, kind="peer", model=peer), ours)
        yield Verdict(
            f"int8 on {backend} beside {peer}, one thread each",
            f"at least {wanted:g} times as fast",
            None if ratio is None else f"{times(ratio)} times",
            None if ratio is None else ratio >= wanted,
        )
    costs = [cost for row in latency.results if (cost := _overhead(latency, row)) is not None]
    yield Verdict(
        "`Predictor` over the engine's own loop, the worst of all engines and precisions",
        f"at most {OVERHEAD:g} times as long",
        f"{times(max(costs))} times" if costs else None,
        max(costs) <= OVERHEAD if costs else None,
    )
    lead = _lead(accuracy)
    yield Verdict(
        f"accuracy above {_LABELLED}",
        f"at least {POINTS:g} points",
        None if lead is None else f"{100 * lead:.2f} points",
        None if lead is None else 100 * lead >= POINTS,
    )


def goal_table(latency: LatencyRun, accuracy: AccuracyRun | None) -> str:
    """The verdicts as Markdown."""
    said = {True: "yes", False: "**no**", None: "-"}
    rows = [
        (found.aim, found.wanted, found.measured or "not measured", said[found.kept])
        for found in verdicts(latency, accuracy)
    ]
    return markdown_table(("aim", "wanted", "measured", "kept"), rows)


def _place(latency: LatencyRun, **described: str) -> int | None:
    """The first row of this description that is one crop at a time on one thread."""
    for place, row in enumerate(latency.results):
        if _alone(row) and all(getattr(row, name) == value for name, value in described.items()):
            return place
    return None


def _alone(row: LatencyRow) -> bool:
    """Whether it is one crop at a time on one thread, and was measured."""
    return not row.error and (row.scenario, row.batch, row.threads) == ("single-stream", 1, 1)


def _overhead(latency: LatencyRun, row: LatencyRow) -> float | None:
    """What a contestant of ours takes over the bare loop on the same file, if both ran."""
    if row.kind != "model" or row.error:
        return None
    same = ("sha256", "backend", "threads", "inference_precision", "scenario", "batch")
    for place, bare in enumerate(latency.results):
        alike = all(getattr(bare, name) == getattr(row, name) for name in same)
        if bare.kind == "bare" and not bare.error and alike:
            return _ratio(latency, latency.results.index(row), place)
    return None


def _ratio(latency: LatencyRun, first: int | None, second: int | None) -> float | None:
    """The p50 of the first over that of the second, of the same rounds."""
    for found in latency.ratios:
        if (found.first, found.second) == (first, second):
            return found.p50_ratio
        if (found.second, found.first) == (first, second):
            return 1 / found.p50_ratio
    return None


def _lead(accuracy: AccuracyRun | None) -> float | None:
    """How much more of the pictures our INT8 answers rightly, on the worse of its engines."""
    results = accuracy.results if accuracy else ()
    theirs = [result for result in results if result.model == _LABELLED]
    ours = [result for result in results if _is_ours(result)]
    if not theirs or not ours:
        return None
    return min(result.accuracy for result in ours) - theirs[0].accuracy


def _is_ours(result: AccuracyResult) -> bool:
    return result.model != _LABELLED and result.precision == "int8"
