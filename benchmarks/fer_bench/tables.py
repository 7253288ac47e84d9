"""Results as Markdown tables and sentences for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fer_bench.compare import SEARCHED, Collected, Comparison, accuracy_of, dots, row_name
from fer_bench.paired_tests import PairedTest
from fer_bench.results import LatencyRow, LatencyRun

__all__ = [
    "change_table",
    "comparison_table",
    "failures",
    "latency_table",
    "markdown_table",
    "noise_lines",
    "paired_sentence",
    "times",
    "with_interval",
]


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def times(value: float | None, digits: int = 3) -> str:
    """A number with three significant digits, without an exponent; a dash for None."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    text = f"{value:.{digits}g}"
    return f"{float(text):,.0f}" if "e" in text else text


def with_interval(value: float | None, interval: Sequence[float] | None) -> str:
    """A number with its interval in brackets."""
    if value is None or interval is None:
        return times(value)
    return f"{times(value)} [{times(interval[0])}, {times(interval[1])}]"


def latency_table(run: LatencyRun) -> str:
    """One row per contestant; those that failed say why below it."""
    header = (
        "contestant", "backend", "precision", "threads", "batch", "scenario", "p50 ms",
        "p90 ms", "p99 ms", "crops/s", "cold ms", "RSS MB", "CPU s/1000", "queries",
    )  # fmt: skip
    measured = [row for row in run.results if row.error is None]
    rows = [
        (
            _name(row),
            row.backend,
            _precision(row),
            times(row.threads),
            str(row.batch),
            row.scenario,
            with_interval(row.p50_ms, row.p50_ci95),
            with_interval(row.p90_ms, row.p90_ci95),
            with_interval(row.p99_ms, row.p99_ci95),
            times(row.rate_per_s if row.scenario == "server" else row.throughput_per_s, 4),
            times(row.cold_ms),
            times(row.rss_mb),
            times(row.cpu_s_per_1000),
            str(row.count),
        )
        for row in measured
    ]
    parts = [markdown_table(header, rows)] if rows else []
    parts += [f"{_name(row)}, {row.scenario}: {row.error}" for row in run.results if row.error]
    parts += [f"{_name(row)}, {row.scenario}: {note}" for row in measured for note in row.notes]
    return "\n".join(parts)


def noise_lines(run: LatencyRun) -> Iterator[str]:
    """What the reader must know of the machine, one line each."""
    if not run.noise.quiet:
        yield "this machine was not quiet; the figures are worth less:"
        yield from (f"  {finding}" for finding in run.noise.findings)


def _name(row: LatencyRow) -> str:
    return f"{row.model} (bare engine)" if row.kind == "bare" else row.model


def _precision(row: LatencyRow) -> str:
    own, computed = row.precision, row.inference_precision
    if own is None:
        return "-"
    return own if computed in (own, None, "unknown") else f"{own} in {computed}"


def comparison_table(found: Collected) -> str:
    """One line per contestant: speed, accuracy, cost; the Pareto front in bold."""
    header = (
        "contestant", "backend", "precision", "threads", "batch", "scenario", "p50 ms", "p90 ms",
        "p99 ms", "crops/s", "accuracy", "split", "cold ms", "RSS MB", "CPU s/1000", "MB",
    )  # fmt: skip
    front = {id(dot.row) for dot in dots(found) if dot.on_front}
    rows = []
    for row in found.latency:
        if row.error:
            continue
        accuracy = accuracy_of(row, found.accuracy)
        name = _name(row)
        rows.append(
            (
                f"**{name}**" if id(row) in front else name,
                row.backend,
                _precision(row),
                times(row.threads),
                str(row.batch),
                row.scenario,
                times(row.p50_ms),
                times(row.p90_ms),
                times(row.p99_ms),
                times(row.rate_per_s if row.scenario == "server" else row.throughput_per_s, 4),
                f"{accuracy.accuracy:.2%}" if accuracy else "-",
                accuracy.split if accuracy else "-",
                times(row.cold_ms),
                times(row.rss_mb),
                times(row.cpu_s_per_1000),
                times(None if row.size_bytes is None else row.size_bytes / 1e6),
            )
        )
    if rows:
        return markdown_table(header, rows)
    short = [
        (r.model, r.backend, r.precision or "-", f"{r.accuracy:.2%}", r.split)
        for r in found.accuracy
    ]
    return markdown_table(("contestant", "backend", "precision", "accuracy", "split"), short)


def failures(found: Collected) -> str:
    """A line for each contestant that could not be measured."""
    return "\n".join(f"- {row_name(row)}: {row.error}" for row in found.latency if row.error)


def change_table(changes: Sequence[Comparison]) -> str:
    """What changed since the baseline, and whether it is more than noise."""
    if not changes:
        return ""
    rows = []
    for entry in changes:
        change = entry.change
        if change is None:
            searched = entry.what == SEARCHED
            verdict = "one search, no interval" if searched else "too few rounds to say"
            span = f"{entry.new / entry.old:.3f}"
        else:
            low, high = change.interval
            span = f"{change.ratio:.3f} [{low:.3f}, {high:.3f}]"
            better = "**slower**" if entry.worse else "faster"
            verdict = better if change.beyond_noise else "no change beyond noise"
        rows.append((entry.name, entry.what, times(entry.old), times(entry.new), span, verdict))
    return markdown_table(("contestant", "figure", "baseline", "now", "ratio", "verdict"), rows)


def paired_sentence(test: PairedTest) -> str:
    """McNemar's test in words."""
    low, high = test.difference_ci95
    return (
        f"{test.first} against {test.second}: {test.difference:+.2%} [{low:+.2%}, {high:+.2%}], "
        f"right alone on {test.only_first} and {test.only_second} of {test.n} pictures, "
        f"McNemar p = {test.p_value:.2g}"
    )
