"""``fer-train import``: weights from elsewhere as a checkpoint, without training."""

from __future__ import annotations

import shlex
from argparse import Namespace
from dataclasses import replace
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
"""Settings of a network that change what it answers and show in no weight's shape."""


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
    add_network_options(parser, "what they are weights of")
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
        from fer_train.pretrained.conversion import ALPHABETICAL, HeadMissingError, import_weights
        from fer_train.pretrained.settings_beside import with_normalisation_beside
    recipe = recipe_of(options, options.weights)
    if not options.recipe:
        own = with_normalisation_beside(options.weights, recipe.input)
        recipe = replace(recipe, input=own)
    try:
        converted = import_weights(
            options.weights,
            recipe,
            options.out,
            labels=options.labels.split(",") if options.labels else None,
            data=data_of(options) if options.data else None,
            half=options.half,
        )
    except HeadMissingError as problem:
        raise HeadMissingError(f"{problem}: {_training(options)}") from problem
    say(converted.weights.describe())
    changed = (f"{name} = {getattr(recipe.network, name)}" for name in _CHANGES)
    set_ones = [told for told in changed if not told.endswith(" = None")]
    if set_ones and converted.weights.kind != "checkpoint":
        say(
            f"they are taken to be of {recipe.network.architecture} with {', '.join(set_ones)}; if "
            f"they are of timm's own network, give --model {recipe.network.architecture}"
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
    if converted.looks_alphabetical:
        say(
            f"with the classes in the order of the alphabet it would be right on "
            f"{converted.accuracy_if_alphabetical:.2%}: import it again with "
            f"--labels {','.join(ALPHABETICAL)}"
        )
    return 0


def _training(options: Namespace) -> str:
    """The command that trains a head for these weights."""
    data = options.data or "fer2013.zip"
    network = ("--recipe", options.recipe) if options.recipe else ("--model", options.model)
    out = options.out.with_suffix("") if options.out.suffix else Path(f"{options.out}-run")
    words = ["fer-train", "--data", data, *network, "--init", options.weights, "--out", out]
    for name in ("classes", "limit", "validation", "validation_share", "subject", "seed"):
        if value := getattr(options, name):
            words += [f"--{name.replace('_', '-')}", value]
    return shlex.join(str(word) for word in words)
