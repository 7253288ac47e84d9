"""The command fer-train."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_edge.command import add_data_option, command_parser, run_command, say, write_result
from fer_edge.dependencies import requires
from fer_edge.record import encode
from fer_train.presets import PRESETS, change, load_recipe, preset
from fer_train.recipe import Recipe

if TYPE_CHECKING:
    from fer_train.assessment import Report

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run fer-train; returns the exit code."""
    parser = command_parser("fer-train", "Train a face-expression network on FER2013.")
    add_data_option(parser)
    parser.add_argument(
        "--out", metavar="DIR", type=Path, required=True, help="folder of the run; continues there"
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--model",
        default="mobilenet",
        help=f"preset to start from: {', '.join(PRESETS)}, or an architecture of timm",
    )
    source.add_argument(
        "--recipe", metavar="FILE", type=Path, help="a TOML file with a model and its settings"
    )
    parser.add_argument("--epochs", type=int, metavar="N", help="instead of the recipe's")
    parser.add_argument("--batch-size", type=int, metavar="N", help="instead of the recipe's")
    parser.add_argument("--seed", type=int, metavar="N", help="instead of the recipe's")
    parser.add_argument(
        "--init",
        metavar="SOURCE",
        help="weights to start from: a checkpoint, a state dict (.pth, .safetensors, .bin), "
        "Google's .npz, or a name that timm has pretrained weights for",
    )
    parser.add_argument(
        "--teacher",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="a checkpoint to distil from; repeated, their mean",
    )
    parser.add_argument(
        "--votes", metavar="CSV", type=Path, help="FER+ votes, mixed into the labels"
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="let torch compile the step: needs a C++ compiler, takes half the time on a CPU",
    )
    parser.set_defaults(handler=_train)
    return run_command(parser, arguments)


def _train(options: Namespace) -> int:
    recipe = _recipe(options)
    with requires("train"):
        from fer_train.loop import Sources
        from fer_train.parallel import world
        from fer_train.pipeline import train_model
    with world() as joined:
        result = train_model(
            recipe,
            options.data,
            options.out,
            votes=options.votes,
            sources=Sources(options.init, tuple(options.teacher)),
            world=joined,
            compiled=options.compile,
            report=say if joined.leads else lambda _: None,
        )
    if result is not None:
        _print(result, options.out)
        write_result(options, encode(result))
    return 0


def _recipe(options: Namespace) -> Recipe:
    recipe = load_recipe(options.recipe) if options.recipe else preset(options.model)
    names = ("epochs", "batch_size", "seed")
    given: dict[str, Any] = {name: getattr(options, name) for name in names}
    return change(recipe, {k: v for k, v in given.items() if v is not None}, "the command line")


def _print(result: Report, out: Path) -> None:
    low, high = result.scores.accuracy_ci95
    print(f"{out / 'best.safetensors'}")
    print(f"  {result.split} ({result.use}): {result.scores.accuracy:.2%} [{low:.2%}, {high:.2%}]")
    print(f"  with flip averaging: {result.accuracy_with_flip_averaging:.2%}")
    print(
        f"  ECE {result.ece_before_scaling:.3f}, after temperature scaling {result.scores.ece:.3f}"
    )
    seen = result.conditioning
    verdict = "well-conditioned" if result.well_conditioned else "ILL-CONDITIONED"
    print(
        f"  {verdict}: largest logit {seen.largest_logit:.1f} ({seen.largest_logit_on}), "
        f"largest activation {seen.largest_activation:.1f} ({seen.largest_activation_on})"
    )
