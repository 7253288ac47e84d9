"""fer-edge camera."""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace

from fer_edge.cli.video import add_tracking_options
from fer_edge.command import Commands, add_command

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "camera", "follow the faces in front of a camera", _camera)
    parser.add_argument(
        "--source",
        default="0",
        help="the number of a camera, an address (rtsp://...) or a GStreamer pipeline; default: 0",
    )
    parser.add_argument(
        "--seconds", type=_seconds, metavar="S", help="stop after so long; default: at Ctrl-C"
    )
    add_tracking_options(parser)
    parser.set_defaults(timeline=None)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if 0 < seconds < float("inf"):
        return seconds
    raise ArgumentTypeError(f"expected a number of seconds above 0, not {text!r:.40}")


def _camera(options: Namespace) -> int:
    from fer_edge.cli.following import follow_camera  # needs OpenCV, which doctor starts without

    return follow_camera(options)
