"""The commands of fer-train beside a training."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from fer_edge.artifacts.record import encode
from fer_edge.command import (
    DATA_HELP,
    Commands,
    Output,
    add_command,
    add_data_choices,
    add_data_option,
    add_validation_options,
    data_of,
    say,
    write_result,
)
from fer_edge.system.dependencies import requires
from fer_train.cli.training import (
    add_device_options,
    add_minutes_option,
    add_network_options,
    execution_of,
    print_report,
    recipe_of,
)
from fer_train.deadline import OUT_OF_TIME, Deadline

SUMMARIES = {
    "data": "show what a data set holds: pictures per class and half, sizes, copies, what is "
    "unreadable",
    "campaign": "run the trainings of a plan, such as teachers and their students",
    "import": "make a checkpoint of finished weights that were trained elsewhere",
    "teach": "store teachers' answers, from which students learn at their own speed",
}


def add_commands(commands: Commands) -> None:
    """Add them all."""
    _add_data(commands)
    _add_campaign(commands)
    _add_import(commands)
    _add_teach(commands)


# --- fer-train data

_SHOWN = 20


def _add_data(commands: Commands) -> None:
    parser = add_command(commands, "data", SUMMARIES["data"], _look)
    parser.add_argument("data", metavar="DATA", type=Path, help=DATA_HELP)
    add_data_choices(parser)
    add_validation_options(parser, seed=True)
    parser.add_argument(
        "--sheet",
        metavar="PNG",
        type=Path,
        action=Output,
        help="draw some pictures of each class into it",
    )


def _look(options: Namespace) -> int:
    from fer_train.inventory import take_inventory

    found = take_inventory(data_of(options), options.sheet)
    labels = sorted({label for counts in found.counts.values() for label in counts})
    width = max([len(label) for label in labels] + [5])
    print(" " * width + "".join(f"{split:>14}" for split in found.counts))
    rows = {name: [counts.get(name, 0) for counts in found.counts.values()] for name in labels}
    rows["all"] = [sum(counts.values()) for counts in found.counts.values()]
    for name, numbers in rows.items():
        print(f"{name:<{width}}" + "".join(f"{number:>14,}" for number in numbers))
    print(f"sizes: {_counted(found.sizes)}")
    print(f"colours: {_counted(found.colours)}")
    print(
        f"copies of training pictures in other halves: {found.copies:,}, nearly the same: "
        f"{found.near_copies:,}"
    )
    for note in found.notes:
        print(f"note: {note}")
    print(f"unreadable: {len(found.unreadable):,}")
    for told in found.unreadable[:_SHOWN]:
        print(f"  {told}")
    if len(found.unreadable) > _SHOWN:
        print(f"  and {len(found.unreadable) - _SHOWN:,} more; --json lists all")
    if options.sheet is not None:
        print(options.sheet)
    write_result(options, {"schema": "fer-train-data/1", **encode(found)})
    return 0


def _counted(counts: Mapping[str, int]) -> str:
    items = list(counts.items())
    told = ", ".join(f"{name} ({count:,})" for name, count in items[:_SHOWN]) or "none"
    return told if len(items) <= _SHOWN else f"{told} and {len(items) - _SHOWN:,} others"


# --- fer-train campaign


def _add_campaign(commands: Commands) -> None:
    parser = add_command(commands, "campaign", SUMMARIES["campaign"], _run)
    add_data_option(parser)
    add_validation_options(parser)
    parser.add_argument(
        "--plan", metavar="FILE", type=Path, required=True, help="a TOML file with [[stages]]"
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        action=Output,
        required=True,
        help="receives a folder per stage; the same command continues there",
    )
    add_device_options(parser)


def _run(options: Namespace) -> int:
    deadline = Deadline(options.minutes)
    with requires("train"):
        from fer_train.campaign import load_plan, run_campaign
        from fer_train.parallel import joined
    stages = load_plan(options.plan)
    with joined(execution_of(options, deadline)) as how:
        data = data_of(options)
        progressed = run_campaign(stages, data, options.out, votes=options.votes, how=how)
        if how.leads:
            for name, report in progressed.reports.items():
                print(f"{options.out / name / 'best.safetensors'}")
                print_report(report)
            write_result(options, {"schema": "fer-train-campaign/1", **encode(progressed)})
    return 0 if progressed.finished else OUT_OF_TIME


# --- fer-train import

_CHANGES = ("stem_stride", "batch_norm_epsilon", "activation")
"""Settings of a network that change its answers and that no weight's shape shows."""


def _add_import(commands: Commands) -> None:
    parser = add_command(commands, "import", SUMMARIES["import"], _import)
    parser.add_argument(
        "--weights",
        metavar="SOURCE",
        required=True,
        help="a state dict (.pth, .safetensors, .bin) as timm, torchvision or Hugging Face name "
        "it, a folder of Hugging Face, or an .npz of Google's",
    )
    add_network_options(parser, "the network that the weights belong to")
    parser.add_argument(
        "--out", metavar="FILE", type=Path, action=Output, required=True, help="the checkpoint"
    )
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
        recipe_file=options.recipe,
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
    told = None if report is None else encode(report)
    result = {"schema": "fer-train-import/1", "weights": str(options.out), "report": told}
    write_result(options, result)
    if report is not None:
        print_report(report)
    if converted.better_if_alphabetical is not None:
        say(
            f"with the classes in alphabetical order {converted.better_if_alphabetical:.2%} of the "
            f"answers would be right: import it again with --labels {','.join(ALPHABETICAL)}"
        )
    return 0


# --- fer-train teach


def _add_teach(commands: Commands) -> None:
    parser = add_command(commands, "teach", SUMMARIES["teach"], _teach)
    add_data_option(parser)
    add_validation_options(parser)
    parser.add_argument(
        "--teacher",
        metavar="FILE",
        type=Path,
        action="append",
        required=True,
        help="a checkpoint; repeat the option for several",
    )
    parser.add_argument(
        "--views",
        metavar="N",
        type=int,
        default=40,
        help="augmented versions of each picture (default 40); more can be added later",
    )
    add_network_options(parser, "the students' model, whose augmentation is used", default="dense")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the views and of --validation-share"
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        action=Output,
        required=True,
        help="the answers; the same command continues there",
    )
    add_minutes_option(parser)


def _teach(options: Namespace) -> int:
    deadline = Deadline(options.minutes)
    with requires("train"):
        from fer_train.data import prepare
        from fer_train.parallel import Execution
        from fer_train.stored_answers import read_answers, teach
    recipe = recipe_of(options)
    finished = teach(
        prepare(data_of(options), wanted=recipe.input),
        options.teacher,
        options.out,
        options.views,
        recipe.augmentation,
        seed=options.seed,
        how=Execution(deadline=deadline, report=say),
    )
    if finished:
        print(options.out)
    info = encode(read_answers(options.out).info) if options.out.exists() else None
    write_result(options, {"schema": "fer-train-teach/1", "finished": finished, "answers": info})
    return 0 if finished else OUT_OF_TIME
