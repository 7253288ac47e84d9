"""fer-bench margins."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from fer_bench.framing import sample
from fer_bench.margins import measure_margins, table
from fer_bench.pages import MeasuredBlock
from fer_edge.artifacts.model import DEFAULT_MODEL
from fer_edge.artifacts.record import encode
from fer_edge.command import (
    MODEL_HELP,
    Commands,
    add_command,
    add_data_option,
    add_predictor_options,
    open_predictor,
    write_result,
)
from fer_edge.faces.detection import FaceDetector

__all__ = ["add_parser"]

SCHEMA = "fer-bench-margins/1"


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands, "margins", "measure accuracy through detection and cut, by margin", _margins
    )
    add_data_option(parser)
    parser.add_argument("--model", default=DEFAULT_MODEL, help=MODEL_HELP)
    parser.add_argument("--count", type=int, metavar="N", default=1000, help="pictures to draw")
    parser.add_argument("--seed", type=int, metavar="N", default=0, help="of the draw")
    parser.add_argument("--write", metavar="PAGE", type=Path, help="a page to write the table into")
    add_predictor_options(parser)


def _margins(options: Namespace) -> int:
    page = MeasuredBlock(options.write, "margins") if options.write else None
    detectors = [FaceDetector("haar"), FaceDetector("yunet")]
    with open_predictor(options.model, options) as predictor:
        crops = sample(options.data, options.count, options.seed)
        results = measure_margins(crops, detectors, predictor)
    text = table(results)
    print(text)
    if page:
        page.write(
            f"Accuracy of the model `{options.model}` on the faces that were found in "
            f"{len(crops):,} pictures of FER2013's public-test, drawn with seed {options.seed}: "
            f"uncut, and cut out of a frame with each margin.\n\n{text}"
        )
    write_result(options, {"schema": SCHEMA, "results": [encode(result) for result in results]})
    return 0
