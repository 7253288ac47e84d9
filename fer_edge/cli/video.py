"""fer-edge video."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from fer_edge.artifacts.model import DEFAULT_MODEL
from fer_edge.cli.predict import add_detector_options
from fer_edge.command import MODEL_HELP, Commands, Output, add_command, add_predictor_options


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "video", "follow the faces of a video", _video)
    parser.add_argument("video", metavar="IN", type=Path, help="a video file")
    parser.add_argument(
        "--timeline",
        metavar="PNG",
        type=Path,
        action=Output,
        help="draw who was there when, with which emotion",
    )
    add_tracking_options(parser)


def add_tracking_options(parser: ArgumentParser) -> None:
    """Add what both video and camera can be asked for."""
    parser.add_argument(
        "--out",
        metavar="MP4",
        type=Path,
        action=Output,
        help="write the video with boxes and bars drawn in",
    )
    parser.add_argument(
        "--csv",
        metavar="FILE",
        type=Path,
        action=Output,
        help="a row for each face of each frame",
    )
    parser.add_argument(
        "--every",
        type=int,
        default=1,
        metavar="N",
        help="search faces in each N-th frame only, for slow devices; default: 1",
    )
    add_detector_options(parser)
    parser.add_argument("--model", default=DEFAULT_MODEL, help=MODEL_HELP)
    add_predictor_options(parser)


def _video(options: Namespace) -> int:
    from fer_edge.cli.following import follow_video  # needs OpenCV, which doctor starts without

    return follow_video(options)
