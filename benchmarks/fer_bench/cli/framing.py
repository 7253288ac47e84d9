"""fer-bench framing."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import cv2

from fer_bench.framing import SPLIT, report, table
from fer_bench.pages import MeasuredBlock
from fer_edge.artifacts.record import encode
from fer_edge.command import Commands, add_command, add_data_option, write_result
from fer_edge.faces.detectors import Detector, Haar
from fer_edge.faces.yunet import YUNET_SHA256, Yunet

__all__ = ["add_parser"]

SCHEMA = "fer-bench-framing/1"


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands, "framing", "measure how FER2013's pictures lie about a detector's boxes", _framing
    )
    add_data_option(parser)
    parser.add_argument("--count", type=int, metavar="N", default=1000, help="pictures to draw")
    parser.add_argument("--seed", type=int, metavar="N", default=0, help="of the draw")
    parser.add_argument("--write", metavar="PAGE", type=Path, help="a page to write the table into")


def _framing(options: Namespace) -> int:
    page = MeasuredBlock(options.write, "framing") if options.write else None
    detectors: dict[str, Detector] = {"haar": Haar(), "yunet": Yunet()}
    results = report(options.data, detectors, count=options.count, seed=options.seed)
    text = table(results)
    print(text)
    if page:
        page.write(f"{_origin(options)}\n\n{text}")
    write_result(
        options,
        {
            "schema": SCHEMA,
            "split": SPLIT,
            "count": options.count,
            "seed": options.seed,
            "opencv": cv2.__version__,
            "yunet_sha256": YUNET_SHA256,
            "results": [encode(result) for result in results],
        },
    )
    return 0


def _origin(options: Namespace) -> str:
    return (
        f"Measured on {options.count:,} pictures of FER2013's {SPLIT}, drawn with seed "
        f"{options.seed}, with OpenCV {cv2.__version__}. A cell gives the lower quartile, the "
        "**median** and the upper quartile."
    )
