"""``fer-train import``: weights from elsewhere as a checkpoint, without training."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from fer_edge.artifacts.record import encode
from fer_edge.command import Commands, add_command, say, write_result
from fer_edge.system.dependencies import requires
from fer_train.cli.training import print_report
from fer_train.presets import PRESETS, load_recipe, preset

SCHEMA = "fer-train-import/1"
SUMMARY = "make a checkpoint of weights for our seven classes that were trained elsewhere"


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "import", SUMMARY, _import)
    parser.add_argument(
        "--weights",
        metavar="SOURCE",
        required=True,
        help="a state dict (.pth, .safetensors, .bin) in timm's or Hugging Face's naming, or an "
        ".npz in Google's",
    )
    network = parser.add_mutually_exclusive_group(required=True)
    network.add_argument(
        "--model", help=f"what they are weights of: {', '.join(PRESETS)}, or timm's name"
    )
    network.add_argument(
        "--recipe", metavar="FILE", type=Path, help="a TOML file with its network and input"
    )
    parser.add_argument("--out", metavar="FILE", type=Path, required=True, help="the checkpoint")
    parser.add_argument(
        "--labels",
        metavar="NAMES",
        help="the seven classes in the order of the weights, with commas between; "
        "default: as the file tells, else FER2013's order",
    )
    parser.add_argument(
        "--data", metavar="FER2013", type=Path, help="zip, folder or CSV, to measure them with"
    )
    parser.add_argument("--half", action="store_true", help="store them in half precision")


def _import(options: Namespace) -> int:
    with requires("train"):
        from fer_train.pretrained.conversion import ALPHABETICAL, import_weights
    converted = import_weights(
        options.weights,
        load_recipe(options.recipe) if options.recipe else preset(options.model),
        options.out,
        labels=options.labels.split(",") if options.labels else None,
        data=options.data,
        half=options.half,
    )
    say(converted.weights.describe())
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
    if converted.looks_alphabetical:
        say(
            f"with the classes in the order of the alphabet it would be right on "
            f"{converted.accuracy_if_alphabetical:.2%}: import it again with "
            f"--labels {','.join(ALPHABETICAL)}"
        )
    return 0
