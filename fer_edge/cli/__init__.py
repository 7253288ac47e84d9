"""The command fer-edge."""

from __future__ import annotations

from collections.abc import Sequence

from fer_edge.cli import camera, doctor, info, page, predict, serve, video
from fer_edge.command import command_parser, run_command

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run fer-edge; returns the exit code."""
    parser = command_parser("fer-edge", "Tell the apparent emotion of faces.", common=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (predict, video, camera, page, serve, info, doctor):
        module.add_parser(commands)
    return run_command(parser, arguments)
