"""fer-edge predict."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from fer_edge.artifacts.artifact import DEFAULT_MODEL
from fer_edge.command import MODEL_HELP, Commands, add_command, add_predictor_options

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "predict", "find faces in pictures and classify each", _predict)
    parser.add_argument(
        "images", nargs="+", metavar="IMAGE", type=Path, help="JPEG, PNG, WebP, BMP"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--crop", action="store_true", help="each picture is one face already")
    where.add_argument(
        "--detector", metavar="FILE", help="a YuNet model to find faces with, or the word haar"
    )
    parser.add_argument(
        "--annotate",
        metavar="DIR",
        type=Path,
        help="write each picture with its faces as NAME.faces.png into DIR",
    )
    parser.add_argument("--model", default=DEFAULT_MODEL, help=MODEL_HELP)
    add_predictor_options(parser)


def _predict(options: Namespace) -> int:
    from fer_edge.cli.pictures import predict  # needs OpenCV, without which doctor should start

    return predict(options)
