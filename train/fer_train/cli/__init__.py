"""The command fer-train: a training, or one of its other commands, by a first word."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence

from fer_edge.command import command_parser, run_command
from fer_train.cli import commands, training

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run fer-train; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    is_training = not given or given[0] not in commands.SUMMARIES
    parser = _training(shows_recipe="--show-recipe" in given) if is_training else _others()
    return run_command(parser, given)


def _training(*, shows_recipe: bool) -> ArgumentParser:
    parser = command_parser("fer-train", "Train a network on FER2013 or on pictures of your own.")
    told = (f"fer-train {name}: {summary}" for name, summary in commands.SUMMARIES.items())
    parser.epilog = f"Also: {'; '.join(told)}. Each has its own --help."
    training.add_options(parser, shows_recipe=shows_recipe)
    return parser


def _others() -> ArgumentParser:
    parser = command_parser("fer-train", "Commands beside a training.", common=False)
    commands.add_commands(parser.add_subparsers(metavar="COMMAND", required=True))
    return parser
