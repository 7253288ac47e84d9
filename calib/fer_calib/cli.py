"""The command fer-calib."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from fer_calib.calibration import draw
from fer_edge.command import (
    Output,
    add_data_option,
    add_validation_options,
    command_parser,
    data_of,
    run_command,
    say,
    write_result,
)

SCHEMA = "fer-calib/1"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run fer-calib; returns the exit code."""
    parser = command_parser("fer-calib", "Draw a class-balanced calibration set from a data set.")
    add_data_option(parser)
    add_validation_options(parser)
    parser.add_argument(
        "--out", metavar="FILE", type=Path, action=Output, required=True, help="the .npz to write"
    )
    parser.add_argument(
        "--count", metavar="N", type=int, default=512, help="how many crops (default: 512)"
    )
    parser.add_argument("--seed", metavar="N", type=int, default=0)
    parser.set_defaults(handler=_calibrate)
    return run_command(parser, arguments)


def _calibrate(options: Namespace) -> int:
    drawn = draw(data_of(options), options.count, options.seed)
    drawn.save(options.out)
    for note in drawn.crops.notes:
        say(note)
    if drawn.note is not None:
        say(f"the set was {drawn.note}, so it may hold copies of test pictures; the file says so")
    print(f"{options.out}: {len(drawn.crops)} crops, sha256 {drawn.sha256}")
    write_result(
        options,
        {
            "schema": SCHEMA,
            "out": str(options.out),
            "count": len(drawn.crops),
            "sha256": drawn.sha256,
            "note": drawn.note,
        },
    )
    return 0
