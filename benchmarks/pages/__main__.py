"""``python -m pages``, with ``benchmarks`` on the path: one command for each measured block."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from fer_edge.command import command_parser, run_command
from pages import (
    benchmark_page,
    bulk,
    framing,
    live,
    margins,
    model_card,
    overhead,
    page_speed,
    smoothing_plot,
    soak_page,
)

PAGES = (
    benchmark_page,
    model_card,
    framing,
    margins,
    live,
    page_speed,
    overhead,
    soak_page,
    smoothing_plot,
    bulk,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write what the first word names; returns the exit code."""
    parser = command_parser("pages", "Measure, and write this project's pages.", common=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="PAGE")
    for page in PAGES:
        page.add_parser(commands)
    return run_command(parser, arguments)


if __name__ == "__main__":
    sys.exit(main())
