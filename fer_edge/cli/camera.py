"""fer-edge camera."""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace

from fer_edge.cli.serve import show_camera
from fer_edge.cli.video import add_tracking_options
from fer_edge.command import Commands, add_command
from fer_edge.errors import ConfigurationError


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
    parser.add_argument(
        "--show",
        action="store_true",
        help="watch it on the live page, which has settings of its own, instead of recording it",
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
    if options.show:
        recorded = [name for name in ("out", "csv", "json", "seconds") if getattr(options, name)]
        if recorded:
            raise ConfigurationError(
                f"--show is for watching; leave out --{recorded[0]}, or record without --show"
            )
        return show_camera(options)
    from fer_edge.cli.following import follow_camera  # needs OpenCV, which doctor starts without

    return follow_camera(options)
