"""fer-bench accuracy."""

from __future__ import annotations

from argparse import Namespace
from contextlib import ExitStack

from fer_bench.accuracy import AccuracyResult, load_split, measure_accuracy
from fer_edge.command import (
    MODEL_HELP,
    Commands,
    add_command,
    add_data_option,
    add_predictor_options,
    open_predictor,
    write_result,
)
from fer_edge.fer2013 import SPLITS
from fer_edge.record import encode

__all__ = ["add_parser"]

SCHEMA = "fer-bench-accuracy/1"


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "accuracy", "measure accuracy on a split of FER2013", _accuracy)
    parser.add_argument("models", nargs="+", metavar="MODEL", help=MODEL_HELP)
    add_data_option(parser)
    parser.add_argument("--split", choices=SPLITS, default="public-test")
    add_predictor_options(parser)


def _accuracy(options: Namespace) -> int:
    results = []
    with ExitStack() as opened:
        # all of them first: a wrong path should not cost the minutes of those before it
        predictors = [opened.enter_context(open_predictor(m, options)) for m in options.models]
        split = load_split(options.data, options.split)
        for model, predictor in zip(options.models, predictors, strict=True):
            results.append(measure_accuracy(model, predictor, split, f"measuring {model}"))
    write_result(options, {"schema": SCHEMA, "results": [encode(result) for result in results]})
    for result in results:
        _print(result)
    return 0


def _print(result: AccuracyResult) -> None:
    low, high = result.accuracy_ci95
    print(f"{result.model} ({result.backend}, {result.precision}) on {result.split}, n={result.n}")
    print(f"  accuracy {result.accuracy:.2%} [{low:.2%}, {high:.2%}]", end="")
    if result.accuracy_without_copies is not None:
        print(f", {result.accuracy_without_copies:.2%} on the {result.n_without_copies} ", end="")
        print("that do not stand in train", end="")
    print(f"\n  macro-F1 {result.macro_f1:.3f}, ECE {result.ece:.3f}, NLL {result.nll:.3f}")
    for name, entry in result.per_class.items():
        print(
            f"  {name:<9} precision {entry.precision:6.1%}  recall {entry.recall:6.1%}  "
            f"F1 {entry.f1:6.1%}  of {entry.support}"
        )
