"""fer-bench card."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from fer_bench.model_card import write_model_card
from fer_edge.artifacts.record import encode
from fer_edge.command import Commands, add_command, add_data_option, write_result

__all__ = ["add_parser"]

SCHEMA = "fer-bench-card/1"


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands, "card", "measure the packaged model and write the figures of its card", _card
    )
    add_data_option(parser)
    parser.add_argument("--card", metavar="FILE", type=Path, default=Path("docs/model-card.md"))
    parser.add_argument("--readme", metavar="FILE", type=Path, default=Path("README.md"))


def _card(options: Namespace) -> int:
    result = write_model_card(options.data, options.card, options.readme)
    print(f"{options.card}, {options.readme}: {result.accuracy:.2%} on {result.split}")
    write_result(options, {"schema": SCHEMA, "result": encode(result)})
    return 0
