"""fer-bench compare."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from fer_bench.compare import (
    METRICS,
    Collected,
    Comparison,
    accuracy_changes,
    collect,
    comparison_csv,
    dots,
    got_worse,
    latency_changes,
    machine_changes,
    newly_failing,
)
from fer_bench.picture import draw_picture
from fer_bench.tables import change_table, comparison_table, failures, paired_sentence
from fer_edge.artifacts.record import encode
from fer_edge.command import Commands, add_command, write_result
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
        "results", nargs="+", metavar="JSON", type=Path, help="of fer-bench latency and accuracy"
    )
    parser.add_argument(
        "--baseline", action="append", metavar="JSON", type=Path, help="older results (repeatable)"
    )
    parser.add_argument("--metric", choices=METRICS, default=METRICS[0], help="of the picture")
    parser.add_argument("--markdown", metavar="FILE", type=Path)
    parser.add_argument("--csv", metavar="FILE", type=Path)
    parser.add_argument("--png", metavar="FILE", type=Path, help="accuracy against latency")
    parser.add_argument("--strict", action="store_true", help="a change for the worse is code 1")


def _compare(options: Namespace) -> int:
    found = collect(options.results)
    if not found.latency and not found.accuracy:
        raise ConfigurationError("these results are empty; there is nothing to compare")
    sections = [comparison_table(found), failures(found)]
    worse, changes = False, {}
    if options.baseline:
        old = collect(options.baseline)
        latency = list(_latency_changes(old, found))
        tests = accuracy_changes(old.accuracy, found.accuracy)
        failing = [
            line for run in found.runs for was in old.runs for line in newly_failing(was, run)
        ]
        if not latency and not tests and not failing:
            raise ConfigurationError(
                "the baseline has no contestant in common with these results; were they measured "
                "with the same models, backends, threads, batches and scenarios?"
            )
        worse = got_worse(latency, tests) or bool(failing)
        notes = [
            line for run in found.runs for was in old.runs for line in machine_changes(was, run)
        ]
        sections.append(change_table(latency))
        sections += [paired_sentence(test) for test in tests]
        sections += [f"- **fails**: {line}" for line in failing]
        sections += [f"- {line}" for line in notes]
        changes = {
            "latency": [encode(entry) for entry in latency],
            "accuracy": [encode(entry) for entry in tests],
            "failing": failing,
            "machine": notes,
        }
    text = "\n\n".join(section for section in sections if section)
    if options.png:
        metric = options.metric.removesuffix("_ms")
        draw_picture(dots(found, options.metric), options.png, metric=metric)
    if options.csv:
        write_bytes(options.csv, comparison_csv(found).encode())
    if options.markdown:
        write_bytes(options.markdown, f"{text}\n".encode())
    marked = dots(found, options.metric)
    write_result(
        options,
        {"schema": SCHEMA, "dots": [encode(dot) for dot in marked], "changes": changes or None},
    )
    print(text)
    return int(options.strict and worse)


def _latency_changes(old: Collected, new: Collected) -> Iterator[Comparison]:
    for run in new.runs:
        for was in old.runs:
            yield from latency_changes(was, run)
