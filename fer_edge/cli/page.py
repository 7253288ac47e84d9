"""fer-edge page."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from fer_edge.command import Commands, Output, add_command, say, write_result


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands, "page", "write the web page that runs the models in the browser", _page
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        action=Output,
        required=True,
        help="the folder for its files",
    )
    parser.add_argument(
        "--model", metavar="FILE", help="an ONNX or model directory of yours, as the first choice"
    )


def _page(options: Namespace) -> int:
    from fer_edge.page.site import write_site  # needs OpenCV, without which doctor should start

    config = write_site(options.out, model=options.model)
    names = ", ".join(f"{model['name']} {model['precision']}" for model in config["models"])
    say(f"the page with {names} is in {options.out}")
    print(f"serve it with any web server, for example: python3 -m http.server -d {options.out}")
    write_result(options, {"schema": 1, "out": str(options.out), "models": config["models"]})
    return 0
