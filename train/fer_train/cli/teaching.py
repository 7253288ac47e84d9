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
from fer_train.deadline import OUT_OF_TIME, Deadline
from fer_train.presets import load_recipe, preset

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
    student = parser.add_mutually_exclusive_group()
    student.add_argument(
        "--model", default="dense", help="preset of the students, whose augmentation is used"
    )
    student.add_argument(
        "--recipe", metavar="FILE", type=Path, help="recipe of the students, likewise"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of views and --validation-share"
    )
    parser.add_argument(
        "--out", metavar="FILE", type=Path, required=True, help="the answers; continues there"
    )
    parser.add_argument(
        "--minutes",
        type=float,
        metavar="N",
        help="stop before N minutes are over, with exit code "
        f"{OUT_OF_TIME} if views are left; the same command continues",
    )


def _teach(options: Namespace) -> int:
    deadline = Deadline(options.minutes)
    with requires("train"):
        from fer_train.data import prepare
        from fer_train.stored_answers import read_answers
        from fer_train.teaching import teach
    recipe = load_recipe(options.recipe) if options.recipe else preset(options.model)
    finished = teach(
        prepare(data_of(options), wanted=recipe.input),
        options.teacher,
        options.out,
        views=options.views,
        augmentation=recipe.augmentation,
        seed=options.seed,
        deadline=deadline,
        report=say,
    )
    if finished:
        print(options.out)
    info = encode(read_answers(options.out).info) if options.out.exists() else None
    write_result(options, {"schema": "fer-train-teach/1", "finished": finished, "answers": info})
    return 0 if finished else OUT_OF_TIME
