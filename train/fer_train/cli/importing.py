"""``fer-train import``: weights from elsewhere as a checkpoint, without training."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from fer_edge.artifacts.record import encode
from fer_edge.command import (
    Commands,
    add_command,
    add_data_option,
    add_validation_options,
    data_of,
    say,
    write_result,
)
from fer_edge.system.dependencies import requires
from fer_train.cli.training import add_network_options, print_report, recipe_of

SCHEMA = "fer-train-import/1"
SUMMARY = "make a checkpoint of finished weights that were trained elsewhere"

_CHANGES = ("stem_stride", "batch_norm_epsilon", "activation")
"""Settings of a network that change its answers and that no weight's shape shows."""


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "import", SUMMARY, _import)
    parser.add_argument(
        "--weights",
        metavar="SOURCE",
        required=True,
        help="a state dict (.pth, .safetensors, .bin) as timm, torchvision or Hugging Face name "
        "it, a folder of Hugging Face, or an .npz of Google's",
    )
    add_network_options(parser, "the network that the weights belong to")
    parser.add_argument("--out", metavar="FILE", type=Path, required=True, help="the checkpoint")
    parser.add_argument(
        "--labels",
        metavar="NAMES",
        help="the classes in the order of the weights, with commas between; needed where neither "
        "the file nor --data tells them",
    )
    add_data_option(parser, required=False, use="; measures them")
    add_validation_options(parser, seed=True)
    parser.add_argument("--half", action="store_true", help="store them in half precision")


def _import(options: Namespace) -> int:
    with requires("train"):
        from fer_train.pretrained.conversion import ALPHABETICAL, import_weights
    recipe = recipe_of(options, options.weights)
    converted = import_weights(
        options.weights,
        recipe,
        options.out,
        labels=options.labels.split(",") if options.labels else None,
        data=data_of(options) if options.data else None,
        half=options.half,
    )
    say(converted.weights.describe())
    given = {name: getattr(recipe.network, name) for name in _CHANGES}
    changes = [f"{name} = {value}" for name, value in given.items() if value is not None]
    if changes and converted.weights.kind != "checkpoint":
        say(
            f"they are read as weights of {recipe.network.architecture} with "
            f"{', '.join(changes)}; if they are of timm's own network, give "
            f"--model {recipe.network.architecture}"
        )
    print(options.out)
    report = converted.report
    write_result(
        options,
        {
            "schema": SCHEMA,
            "weights": str(options.out),
            "report": None if report is None else encode(report),
        },
    )
    if report is not None:
        print_report(report)
    if converted.better_if_alphabetical is not None:
        say(
            f"with the classes in alphabetical order {converted.better_if_alphabetical:.2%} of the "
            f"answers would be right: import it again with --labels {','.join(ALPHABETICAL)}"
        )
    return 0
