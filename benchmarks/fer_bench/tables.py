"""Results as tables, in Markdown or for a terminal, and as sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fer_bench.comparison import SEARCHED, Collected, Comparison, accuracy_of, dots, row_name
from fer_bench.latency_results import LatencyRow, LatencyRun
from fer_bench.paired_tests import PairedTest

__all__ = [
    "aligned_table",
    "change_table",
    "comparison_summary",
    "comparison_table",
    "failures",
    "latency_summary",
    "latency_table",
    "markdown_table",
    "noise_lines",
    "paired_sentence",
    "times",
    "with_interval",
]


_TEXT_COLUMNS, _NAME_LENGTH = 2, 36


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def aligned_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for a terminal: the first two columns to the left, the others to the right."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(
            f"{cell:<{width}}" if column < _TEXT_COLUMNS else f"{cell:>{width}}"
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


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
    """One row per candidate, in full; below it why others failed, and notes."""
    header = (
        "model", "backend", "precision", "threads", "batch", "scenario", "p50 ms",
        "p90 ms", "p99 ms", "crops/s", "cold ms", "RSS MB", "CPU s/1000", "queries",
    )  # fmt: skip
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
            _rate(row),
            times(row.cold_ms),
            times(row.rss_mb),
            times(row.cpu_s_per_1000),
            str(row.count),
        )
        for row in run.results
        if row.error is None
    ]
    return _with_remarks(run, markdown_table(header, rows) if rows else "")


def latency_summary(run: LatencyRun) -> str:
    """Five columns that fit a terminal; JSON and Markdown have all."""
    header = ("model", "runs on", "p50 ms", "p99 ms", "crops/s")
    rows = [
        (
            _short(_name(row)),
            _place(row),
            with_interval(row.p50_ms, row.p50_ci95),
            times(row.p99_ms),
            _rate(row),
        )
        for row in run.results
        if row.error is None
    ]
    return _with_remarks(run, aligned_table(header, rows) if rows else "")


def _with_remarks(run: LatencyRun, table: str) -> str:
    parts = [table] if table else []
    parts += [f"{_name(row)}, {row.scenario}: {row.error}" for row in run.results if row.error]
    measured = [row for row in run.results if row.error is None]
    parts += [f"{_name(row)} ({_place(row)}): {note}" for row in measured for note in row.notes]
    return "\n".join(parts)


def noise_lines(run: LatencyRun) -> Iterator[str]:
    """A warning if the machine was not quiet, with its reasons, one line each."""
    if not run.noise.quiet:
        yield "this machine was not quiet, so the figures are less certain:"
        yield from (f"  {finding}" for finding in run.noise.findings)


def _rate(row: LatencyRow) -> str:
    return times(row.rate_per_s if row.scenario == "server" else row.throughput_per_s, 4)


def _place(row: LatencyRow) -> str:
    """Where a row ran, in words: engine and precision, and what is not the usual."""
    parts = [row.backend, _precision(row)]
    parts += [f"{row.threads} threads"] if row.threads and row.threads > 1 else []
    parts += [row.scenario] if row.scenario != "single-stream" else []
    parts += [f"batch {row.batch}"] if row.batch > 1 else []
    return ", ".join(parts)


def _short(name: str) -> str:
    """The end of a long name, which may be a path."""
    return name if len(name) <= _NAME_LENGTH else f"…{name[1 - _NAME_LENGTH :]}"


def _name(row: LatencyRow) -> str:
    return f"{row.model} (bare engine)" if row.kind == "bare" else row.model


def _precision(row: LatencyRow) -> str:
    own, computed = row.precision, row.inference_precision
    if own is None:
        return "-"
    return own if computed in (own, None, "unknown") else f"{own} in {computed}"


def comparison_table(found: Collected) -> str:
    """One line per candidate: speed, accuracy, cost; the Pareto front in bold."""
    header = (
        "model", "backend", "precision", "threads", "batch", "scenario", "p50 ms", "p90 ms",
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
                _rate(row),
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
    return markdown_table(("model", "backend", "precision", "accuracy", "split"), short)


def comparison_summary(found: Collected) -> str:
    """Five columns that fit a terminal, the Pareto front marked with a star."""
    front = {id(dot.row) for dot in dots(found) if dot.on_front}
    rows = []
    for row in found.latency:
        if not row.error:
            accuracy = accuracy_of(row, found.accuracy)
            rows.append(
                (
                    f"{_short(_name(row))}{' *' if id(row) in front else ''}",
                    _place(row),
                    with_interval(row.p50_ms, row.p50_ci95),
                    _rate(row),
                    f"{accuracy.accuracy:.2%}" if accuracy else "-",
                )
            )
    if not rows:
        return comparison_table(found)
    star = ["* no other is both faster and more accurate"] if front else []
    header = ("model", "runs on", "p50 ms", "crops/s", "accuracy")
    return "\n".join([aligned_table(header, rows), *star])


def failures(found: Collected) -> str:
    """A line for each candidate that could not be measured."""
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
    return markdown_table(("candidate", "figure", "baseline", "now", "ratio", "verdict"), rows)


def paired_sentence(test: PairedTest) -> str:
    """McNemar's test in words."""
    low, high = test.difference_ci95
    return (
        f"{test.first} against {test.second}: {test.difference:+.2%} [{low:+.2%}, {high:+.2%}], "
        f"right alone on {test.only_first} and {test.only_second} of {test.n} pictures, "
        f"McNemar p = {test.p_value:.2g}"
    )
