"""Results as tables, in Markdown or for a terminal, and as sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fer_bench.comparison import SEARCHED, Changes, Collected, Comparison, accuracy_of, dots
from fer_bench.latency_results import LatencyRow, LatencyRun
from fer_bench.measure_accuracy import AccuracyResult
from fer_bench.paired_tests import PairedTest

_WHO = ("model", "backend", "precision", "threads", "batch", "scenario")
_TIMES = ("p50 ms", "p90 ms", "p99 ms")
_INTERVALS = ("p50 ms [95 %]", "p90 ms [95 %]", "p99 ms [95 %]")
_COST = ("cold ms", "RSS MB", "CPU s/1000")
_NAME_LENGTH = 36


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def aligned_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int = 2
) -> str:
    """A table for a terminal: ``text_columns`` are aligned to the left, the others to the right."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(
            f"{cell:<{width}}" if column < text_columns else f"{cell:>{width}}"
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def times(value: float | None, digits: int = 3) -> str:
    """A number with three significant digits, without an exponent; a dash for None."""
    if value is None:
        return "-"
    text = f"{value:.{digits}g}"
    return f"{float(text):,.0f}" if "e" in text else text


def with_interval(value: float | None, interval: Sequence[float] | None) -> str:
    """A number with its interval in brackets."""
    if value is None or interval is None:
        return times(value)
    return f"{times(value)} [{times(interval[0])}, {times(interval[1])}]"


def latency_table(run: LatencyRun) -> str:
    """One row per candidate, in full; below it why others failed, and notes."""
    header = (*_WHO, *_INTERVALS, "crops/s", *_COST, "queries")
    return _with_remarks(run, markdown_table(header, _lines(run, header)))


def latency_summary(run: LatencyRun) -> str:
    """Five columns that fit a terminal; JSON and Markdown have all."""
    header = ("model", "runs on", _INTERVALS[0], "p99 ms", "crops/s")
    lines = [[_short(name), *rest] for name, *rest in _lines(run, header)]
    return _with_remarks(run, aligned_table(header, lines))


def comparison_table(found: Collected) -> str:
    """One line per candidate: speed, accuracy, cost; the Pareto front in bold."""
    header = (*_WHO, *_TIMES, "crops/s", "accuracy", "split", *_COST, "MB")
    lines = [
        [f"**{name}**" if best else name, *rest] for best, (name, *rest) in _compared(found, header)
    ]
    if lines:
        return markdown_table(header, lines)
    short = [
        (r.model, r.backend, r.precision or "-", f"{r.accuracy:.2%}", r.split)
        for r in found.accuracy
    ]
    return markdown_table(("model", "backend", "precision", "accuracy", "split"), short)


def comparison_summary(found: Collected) -> str:
    """Five columns that fit a terminal, the Pareto front marked with a star."""
    header = ("model", "runs on", _INTERVALS[0], "crops/s", "accuracy")
    rows = _compared(found, header)
    if not rows:
        return comparison_table(found)
    lines = [[f"{_short(name)}{' *' if best else ''}", *rest] for best, (name, *rest) in rows]
    star = ["* no other is both faster and more accurate"] if any(best for best, _ in rows) else []
    return "\n".join([aligned_table(header, lines), *star])


def remarks(found: Collected) -> str:
    """What the table does not show, a line each: what failed, what stands alone, and notes."""
    measured = _measured(found.latency)
    used = {id(accuracy_of(row, found.accuracy)) for row in measured}
    lines = [f"{r.name}, {r.place}: {r.error}" for r in found.latency if r.error]
    lines += [f"accuracy of {it.model}: {it.error}" for it in found.unmeasured]
    lines += [
        f"{r.model}, {r.backend}, {r.precision or '-'}: {r.accuracy:.2%} on {r.split}; no latency "
        "of this very file and engine is given"
        for r in found.accuracy
        if measured and id(r) not in used
    ]
    lines += [f"{row.name}, {row.place}: {note}" for row in measured for note in row.notes]
    lines += [f"a run was interrupted after {r.rounds} rounds" for r in found.runs if r.interrupted]
    return "\n".join(f"- {line}" for line in lines)


def change_sections(changes: Changes) -> list[str]:
    """What changed since the baseline, and whether it is more than noise."""
    header = ("candidate", "figure", "baseline", "now", "ratio", "verdict")
    rows = [_change_row(entry) for entry in changes.latency]
    sections = [markdown_table(header, rows)] if rows else []
    sections += map(paired_sentence, changes.accuracy)
    sections += [f"- **fails**: {line}" for line in changes.failing]
    return sections + [f"- {line}" for line in changes.machine]


def paired_sentence(test: PairedTest) -> str:
    """McNemar's test in words."""
    low, high = test.difference_ci95
    return (
        f"{test.first} against {test.second}: {test.difference:+.2%} [{low:+.2%}, {high:+.2%}], "
        f"right alone on {test.only_first} and {test.only_second} of {test.n} pictures, "
        f"McNemar p = {test.p_value:.2g}"
    )


def noise_lines(run: LatencyRun) -> Iterator[str]:
    """A warning if the machine was not quiet, with its reasons, one line each."""
    if not run.noise.quiet:
        yield "this machine was not quiet, so the figures are less certain:"
        yield from (f"  {finding}" for finding in run.noise.findings)


def _lines(run: LatencyRun, header: Sequence[str]) -> list[list[str]]:
    """The named columns of the rows that were measured."""
    return [line for _, line in _compared(Collected([run]), header)]


def _compared(found: Collected, header: Sequence[str]) -> list[tuple[bool, list[str]]]:
    """The named columns of each row that was measured, and whether the Pareto front has it."""
    front = {id(dot.row) for dot in dots(found) if dot.on_front}
    compared = []
    for row in _measured(found.latency):
        cells = _cells(row, accuracy_of(row, found.accuracy))
        compared.append((id(row) in front, [cells[name] for name in header]))
    return compared


def _cells(row: LatencyRow, accuracy: AccuracyResult | None) -> dict[str, str]:
    """Every column that a table may have."""
    rate = row.rate_per_s if row.scenario == "server" else row.throughput_per_s
    return {
        "model": row.name,
        "runs on": row.place,
        "backend": row.backend,
        "precision": row.precisions,
        "threads": times(row.threads),
        "batch": str(row.batch),
        "scenario": row.scenario,
        "p50 ms": times(row.p50_ms),
        "p90 ms": times(row.p90_ms),
        "p99 ms": times(row.p99_ms),
        "p50 ms [95 %]": with_interval(row.p50_ms, row.p50_ci95),
        "p90 ms [95 %]": with_interval(row.p90_ms, row.p90_ci95),
        "p99 ms [95 %]": with_interval(row.p99_ms, row.p99_ci95),
        "crops/s": times(rate, 4),
        "accuracy": f"{accuracy.accuracy:.2%}" if accuracy else "-",
        "split": accuracy.split if accuracy else "-",
        "cold ms": times(row.cold_ms),
        "RSS MB": times(row.rss_mb),
        "CPU s/1000": times(row.cpu_s_per_1000),
        "MB": times(None if row.size_bytes is None else row.size_bytes / 1e6),
        "queries": str(row.count),
    }


def _measured(rows: Sequence[LatencyRow]) -> list[LatencyRow]:
    return [row for row in rows if row.error is None]


def _with_remarks(run: LatencyRun, table: str) -> str:
    measured = _measured(run.results)
    parts = [table] if measured else []
    parts += [f"{row.name}, {row.scenario}: {row.error}" for row in run.results if row.error]
    parts += [f"{row.name} ({row.place}): {note}" for row in measured for note in row.notes]
    return "\n".join(parts)


def _short(name: str) -> str:
    """The end of a long name, which may be a path."""
    return name if len(name) <= _NAME_LENGTH else f"…{name[1 - _NAME_LENGTH :]}"


def _change_row(entry: Comparison) -> tuple[str, ...]:
    change = entry.change
    if change is None:
        verdict = "one search, no interval" if entry.what == SEARCHED else "too few rounds to say"
        span = f"{entry.new / entry.old:.3f}"
    else:
        low, high = change.interval
        span = f"{change.ratio:.3f} [{low:.3f}, {high:.3f}]"
        verdict = "**slower**" if entry.worse else "faster"
        verdict = verdict if change.beyond_noise else "no change beyond noise"
    return entry.name, entry.what, times(entry.old), times(entry.new), span, verdict
