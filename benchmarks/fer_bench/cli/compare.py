"""fer-bench compare."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from fer_bench.comparison import changes_since, collect, comparison_csv, dots
from fer_bench.plot import draw_plot
from fer_bench.tables import (
    change_sections,
    comparison_summary,
    comparison_table,
    noise_lines,
    remarks,
)
from fer_edge.artifacts.record import encode
from fer_edge.command import Commands, Output, add_command, say, write_result
from fer_edge.errors import ConfigurationError
from fer_edge.system.files import write_bytes

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
    for name, what in (
        ("markdown", "write a table with every column"),
        ("csv", "write every figure"),
        ("png", "draw accuracy against latency, or latency alone"),
    ):
        parser.add_argument(f"--{name}", metavar="FILE", type=Path, action=Output, help=what)
    parser.add_argument(
        "--strict", action="store_true", help="exit code 1 for a change for the worse"
    )


def _compare(options: Namespace) -> int:
    found = collect(options.results)
    if not found.latency and not found.accuracy and not found.unmeasured:
        raise ConfigurationError("these results are empty; there is nothing to compare")
    drawn = dots(found)
    changes = changes_since(collect(options.baseline), found) if options.baseline else None
    warnings = [line for run in found.runs for line in noise_lines(run)]
    below = [remarks(found), *(change_sections(changes) if changes else ())]
    if options.markdown:
        text = _sections(comparison_table(found), *below, *(f"> {line}" for line in warnings))
        write_bytes(options.markdown, f"{text}\n".encode())
    if options.csv:
        write_bytes(options.csv, comparison_csv(found).encode())
    result = {
        "schema": SCHEMA,
        "dots": [encode(dot) for dot in drawn],
        "changes": encode(changes) if changes else None,
        "warnings": warnings,
    }
    write_result(options, result)
    print(_sections(comparison_summary(found), *below))
    for line in warnings:
        say(line)
    if options.png:  # the last step: nothing else needs matplotlib, or what can be drawn
        if not drawn:
            raise ConfigurationError("there is no single-stream latency of batch 1 to draw")
        subtitle = "measured on a machine that was not quiet" if warnings else ""
        draw_plot(drawn, options.png, subtitle=subtitle)
    return int(options.strict and changes is not None and changes.worse)


def _sections(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)
