"""fer-bench compare."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

from fer_bench.comparison import (
    METRICS,
    Collected,
    accuracy_changes,
    collect,
    comparison_csv,
    dots,
    got_worse,
    latency_changes,
    machine_changes,
    newly_failing,
)
from fer_bench.plot import draw_plot
from fer_bench.tables import (
    change_table,
    comparison_summary,
    comparison_table,
    failures,
    noise_lines,
    paired_sentence,
)
from fer_edge.artifacts.record import encode
from fer_edge.command import Commands, add_command, say, write_result
from fer_edge.errors import ConfigurationError
from fer_edge.system.files import write_bytes

__all__ = ["add_parser"]

SCHEMA = "fer-bench-compare/1"


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands, "compare", "put results side by side, and against a baseline", _compare
    )
    parser.add_argument(
        "results",
        nargs="+",
        metavar="JSON",
        type=Path,
        help="results of fer-bench latency and accuracy",
    )
    parser.add_argument(
        "--baseline", action="append", metavar="JSON", type=Path, help="older results (repeatable)"
    )
    parser.add_argument(
        "--metric", choices=METRICS, default=METRICS[0], help="latency in the picture"
    )
    parser.add_argument(
        "--markdown", metavar="FILE", type=Path, help="write a table with every column"
    )
    parser.add_argument("--csv", metavar="FILE", type=Path, help="write every figure")
    parser.add_argument(
        "--png", metavar="FILE", type=Path, help="draw accuracy against latency, or latency alone"
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit code 1 for a change for the worse"
    )


def _compare(options: Namespace) -> int:
    found = collect(options.results)
    if not found.latency and not found.accuracy:
        raise ConfigurationError("these results are empty; there is nothing to compare")
    marked = dots(found, options.metric)
    if options.png and not marked:
        raise ConfigurationError("there is no single-stream latency of batch 1 to draw")
    since = _since(collect(options.baseline), found) if options.baseline else None
    warnings = [line for run in found.runs for line in noise_lines(run)]
    below = [failures(found), *(since.sections if since else ())]
    if options.markdown:
        text = _sections(comparison_table(found), *below, *(f"> {line}" for line in warnings))
        write_bytes(options.markdown, f"{text}\n".encode())
    if options.csv:
        write_bytes(options.csv, comparison_csv(found).encode())
    changes = since.changes if since else None
    rows = [encode(dot) for dot in marked]
    result = {"schema": SCHEMA, "dots": rows, "changes": changes, "warnings": warnings}
    write_result(options, result)
    print(_sections(comparison_summary(found), *below))
    for line in warnings:
        say(line)
    if options.png:  # last: all else does without matplotlib
        metric = options.metric.removesuffix("_ms")
        subtitle = "measured on a machine that was not quiet" if warnings else ""
        draw_plot(marked, options.png, metric=metric, subtitle=subtitle)
    return int(options.strict and since is not None and since.worse)


@dataclass(frozen=True)
class _Since:
    """What changed since a baseline: for readers, for JSON, and whether it is for the worse."""

    sections: tuple[str, ...]
    changes: dict[str, object]
    worse: bool


def _since(old: Collected, new: Collected) -> _Since:
    pairs = [(was, run) for run in new.runs for was in old.runs]
    latency = [entry for pair in pairs for entry in latency_changes(*pair)]
    failing = [line for pair in pairs for line in newly_failing(*pair)]
    notes = [line for pair in pairs for line in machine_changes(*pair)]
    tests = accuracy_changes(old.accuracy, new.accuracy)
    if not latency and not tests and not failing:
        raise ConfigurationError(
            "the baseline has no candidate in common with these results; were they measured with "
            "the same models, backends, threads, batches and scenarios?"
        )
    sections = [change_table(latency), *map(paired_sentence, tests)]
    sections += [f"- **fails**: {line}" for line in failing]
    sections += [f"- {line}" for line in notes]
    changes = {
        "latency": [encode(entry) for entry in latency],
        "accuracy": [encode(entry) for entry in tests],
        "failing": failing,
        "machine": notes,
    }
    return _Since(tuple(sections), changes, got_worse(latency, tests) or bool(failing))


def _sections(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)
