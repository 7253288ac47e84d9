"""``fer-train teach``: teachers' answers in a file, for any number of students."""

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
from fer_train.cli.training import add_minutes_option, add_network_options, recipe_of
from fer_train.deadline import OUT_OF_TIME, Deadline

SUMMARY = "store teachers' answers, from which students learn at their own speed"


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "teach", SUMMARY, _teach)
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
