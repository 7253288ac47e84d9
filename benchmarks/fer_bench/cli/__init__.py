"""The command fer-bench."""

from __future__ import annotations

from collections.abc import Sequence

from fer_bench.cli import accuracy, compare, latency, peers, soak
from fer_edge.command import command_parser, run_command

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run fer-bench; returns the exit code."""
    parser = command_parser("fer-bench", "Measure models.", common=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (latency, accuracy, compare, peers, soak):
        module.add_parser(commands)
    return run_command(parser, arguments)
