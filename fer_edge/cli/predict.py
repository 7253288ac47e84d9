"""fer-edge predict."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from fer_edge.artifacts.model import DEFAULT_MODEL
from fer_edge.command import MODEL_HELP, Commands, add_command, add_predictor_options

if TYPE_CHECKING:
    from argparse import _ActionsContainer


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "predict", "find faces in pictures and classify each", _predict)
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        type=Path,
        help="JPEG, PNG, WebP, BMP or TIFF files, or folders of them",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--crop", action="store_true", help="each picture is one face already")
    add_detector_options(parser, where)
    parser.add_argument(
        "--annotate",
        metavar="DIR",
        type=Path,
        help="write each picture with its faces as NAME.faces.png into DIR",
    )
    parser.add_argument(
        "--shard",
        metavar="I/N",
        type=_shard,
        default=(1, 1),
        help="take only part I of N parts of the pictures, 1/4 to 4/4 for four machines",
    )
    parser.add_argument("--model", default=DEFAULT_MODEL, help=MODEL_HELP)
    add_predictor_options(parser)


def add_detector_options(parser: ArgumentParser, group: _ActionsContainer | None = None) -> None:
    """Add what a FaceDetector can be asked for; its name goes to a group where there is one."""
    (group or parser).add_argument(
        "--detector", default="yunet", metavar="NAME", help="yunet, haar or the path of a YuNet"
    )
    parser.add_argument(
        "--max-side",
        type=int,
        default=640,
        metavar="PIXELS",
        help="search larger pictures in a copy of this size; default: 640. Smaller faces are found "
        "with more, in more time",
    )


def _shard(text: str) -> tuple[int, int]:
    part, _, parts = text.partition("/")
    if part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts):
        return int(part), int(parts)
    raise ArgumentTypeError(f"expected I/N with I from 1 to N, such as 1/4, not {text!r:.40}")


def _predict(options: Namespace) -> int:
    from fer_edge.cli.pictures import predict  # needs OpenCV, without which doctor should start

    return predict(options)
