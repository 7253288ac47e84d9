"""The command fer-train: a training, or one of its other commands, by a first word."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence

from fer_edge.command import command_parser, run_command
from fer_train.cli import campaign, importing, looking, teaching, training

__all__ = ["main"]

_COMMANDS = {
    "data": looking,
    "campaign": campaign,
    "import": importing,
    "teach": teaching,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run fer-train; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = (
        _commands()
        if given and given[0] in _COMMANDS
        else _training(shows_recipe="--show-recipe" in given)
    )
    return run_command(parser, given)


def _training(*, shows_recipe: bool) -> ArgumentParser:
    parser = command_parser("fer-train", "Train a network on FER2013 or on pictures of your own.")
    summaries = (f"fer-train {name}: {module.SUMMARY}" for name, module in _COMMANDS.items())
    parser.epilog = f"Also: {'; '.join(summaries)}. Each has its own --help."
    training.add_options(parser, shows_recipe=shows_recipe)
    return parser


def _commands() -> ArgumentParser:
    parser = command_parser("fer-train", "Commands beside a training.", common=False)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in _COMMANDS.values():
        module.add_to(commands)
    return parser
