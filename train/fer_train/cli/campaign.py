"""``fer-train campaign``: several trainings in a row."""

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
    write_result,
)
from fer_edge.system.dependencies import requires
from fer_train.cli.training import add_device_options, execution, print_report
from fer_train.deadline import OUT_OF_TIME, Deadline

SUMMARY = "run the trainings of a plan, such as teachers and their students"


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "campaign", SUMMARY, _run)
    add_data_option(parser)
    add_validation_options(parser)
    parser.add_argument(
        "--plan", metavar="FILE", type=Path, required=True, help="a TOML file with [[stages]]"
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        required=True,
        help="receives a folder per stage; the same command continues there",
    )
    add_device_options(parser)


def _run(options: Namespace) -> int:
    deadline = Deadline(options.minutes)
    with requires("train"):
        from fer_train.campaign import load_plan, run_campaign
    stages = load_plan(options.plan)
    with execution(options, deadline) as how:
        data = data_of(options)
        progressed = run_campaign(stages, data, options.out, votes=options.votes, how=how)
        if how.world.leads:
            for name, report in progressed.reports.items():
                print(f"{options.out / name / 'best.safetensors'}")
                print_report(report)
            write_result(options, {"schema": "fer-train-campaign/1", **encode(progressed)})
    return 0 if progressed.finished else OUT_OF_TIME
