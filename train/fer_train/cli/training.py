"""``fer-train``: one training."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_edge.artifacts.record import encode
from fer_edge.command import (
    Output,
    add_data_option,
    add_validation_options,
    data_of,
    say,
    write_result,
)
from fer_edge.system.dependencies import requires
from fer_train.deadline import OUT_OF_TIME, Deadline
from fer_train.presets import PRESETS, change, load_recipe, preset
from fer_train.recipe import Recipe, written_out

if TYPE_CHECKING:
    from fer_train.assessment import Report
    from fer_train.parallel import Execution

_WEAKEST = 2


def add_options(parser: ArgumentParser, *, shows_recipe: bool = False) -> None:
    """Add the options of a training; to show its recipe, none is required."""
    add_data_option(parser, required=not shows_recipe)
    add_validation_options(parser)
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        action=Output,
        required=not shows_recipe,
        help="folder of the run; the same command continues there",
    )
    add_network_options(parser, "preset to start from", default="mobilenet")
    parser.add_argument("--epochs", type=int, metavar="N", help="instead of the recipe's")
    parser.add_argument("--batch-size", type=int, metavar="N", help="instead of the recipe's")
    parser.add_argument(
        "--seed", type=int, metavar="N", help="instead of the recipe's; also of --validation-share"
    )
    parser.add_argument(
        "--init",
        metavar="SOURCE",
        help="weights to start from: a checkpoint, a state dict (.pth, .safetensors, .bin), "
        "Google's .npz, efficientnet-lite0, -lite1 or -lite2 (from the package of that name), "
        "a graph model (.json), or a name that timm has pretrained weights for",
    )
    parser.add_argument(
        "--teacher",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="a checkpoint to learn from while training; repeated, from the mean of all",
    )
    parser.add_argument(
        "--taught",
        metavar="FILE",
        type=Path,
        help="learn from the teachers' answers in this file of fer-train teach",
    )
    parser.add_argument(
        "--show-recipe",
        action="store_true",
        help="print every setting with its meaning, as a recipe file, and train nothing",
    )
    add_device_options(parser)
    parser.set_defaults(handler=_show_recipe if shows_recipe else _train)


def add_device_options(parser: ArgumentParser) -> None:
    """Add how to run trainings, which is the same for one and for a campaign."""
    parser.add_argument(
        "--votes", metavar="CSV", type=Path, help="FER+ votes, mixed into the labels"
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="let torch compile the step, which is faster for a CNN; needs a C++ compiler",
    )
    parser.add_argument(
        "--deterministic",
        action="store_true",
        help="the same bits from the same seed on GPUs too; slower",
    )
    add_minutes_option(parser)


def add_minutes_option(parser: ArgumentParser) -> None:
    """Add a limit on the time of one call; the next call continues."""
    parser.add_argument(
        "--minutes",
        type=float,
        metavar="N",
        help=f"stop before N minutes are over, with exit code {OUT_OF_TIME} if work is left; "
        "the same command continues",
    )


def add_network_options(parser: ArgumentParser, what: str, default: str | None = None) -> None:
    """Add ``--model`` and ``--recipe``, of which one is needed without ``default``."""
    group = parser.add_mutually_exclusive_group(required=default is None)
    known = f"{', '.join(PRESETS)}, or an architecture of timm"
    group.add_argument("--model", default=default, help=f"{what}: {known}")
    group.add_argument(
        "--recipe", metavar="FILE", type=Path, help="a TOML file with a model and its settings"
    )


def recipe_of(options: Namespace, weights: str | None = None) -> Recipe:
    """The recipe that these options name; ``weights`` are those to start from."""
    return load_recipe(options.recipe) if options.recipe else preset(options.model, weights)


def execution_of(options: Namespace, deadline: Deadline) -> Execution:
    """How to run work, as ``add_device_options`` says."""
    from fer_train.parallel import Execution

    return Execution(
        compiled=options.compile,
        deterministic=options.deterministic,
        deadline=deadline,
        report=say,
    )


def _train(options: Namespace) -> int:
    deadline, recipe = Deadline(options.minutes), _recipe(options)
    with requires("train"):
        from fer_train.loop import Sources
        from fer_train.parallel import joined
        from fer_train.pipeline import train_model
    with joined(execution_of(options, deadline)) as how:
        outcome = train_model(
            recipe,
            data_of(options),
            options.out,
            name=options.recipe.name if options.recipe else f"preset {options.model}",
            votes=options.votes,
            sources=Sources(options.init, tuple(options.teacher), options.taught),
            how=how,
        )
    if outcome.report is not None:
        print(f"{options.out / 'best.safetensors'}")
        print_report(outcome.report)
        write_result(options, encode(outcome.report))
    return 0 if outcome.finished else OUT_OF_TIME


def _show_recipe(options: Namespace) -> int:
    print(written_out(_recipe(options)), end="")
    return 0


def _recipe(options: Namespace) -> Recipe:
    names = ("epochs", "batch_size", "seed")
    given: dict[str, Any] = {name: getattr(options, name) for name in names}
    recipe = recipe_of(options, options.init)
    return change(recipe, {k: v for k, v in given.items() if v is not None}, "the command line")


def print_report(result: Report) -> None:
    """Print what a report says, in a few lines."""
    low, high = result.scores.accuracy_ci95
    print(f"  {result.split} ({result.use}): {result.scores.accuracy:.2%} [{low:.2%}, {high:.2%}]")
    alone = result.scores_without_copies
    if alone is not None:
        print(f"  without the {result.scores.n - alone.n} copies: {alone.accuracy:.2%}")
    print(f"  with flip averaging: {result.flip_averaged.accuracy:.2%}")
    weakest = sorted(result.scores.per_class.items(), key=lambda named: named[1].recall)[:_WEAKEST]
    told = ", ".join(f"{name} {scores.recall:.0%}" for name, scores in weakest)
    print(f"  macro-F1 {result.scores.macro_f1:.3f}; found least often: {told}")
    print(
        f"  ECE {result.ece_before_scaling:.3f}, after temperature scaling {result.scores.ece:.3f}"
    )
    if result.history is not None and result.history.teachers_accuracy is not None:
        print(f"  its teachers together: {result.history.teachers_accuracy:.2%}")
    seen = result.conditioning
    verdict = "well-conditioned" if result.well_conditioned else "ILL-CONDITIONED"
    print(
        f"  {verdict}: largest logit {seen.largest_logit:.1f} ({seen.largest_logit_on}), "
        f"largest activation {seen.largest_activation:.1f} ({seen.largest_activation_on})"
    )
