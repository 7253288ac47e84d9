"""Which margin around a detected face gives the best accuracy.

Pictures of FER2013 are enlarged, set into an empty surround and treated like a user's photo: a
detector finds the face, the box grows by the margin, and the crop is classified.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fer_bench.tables import markdown_table
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
from fer_edge.evaluation.fer2013 import LabelledCrops
from fer_edge.evaluation.metrics import wilson_interval
from fer_edge.faces.detection import FaceDetector, cut_face
from fer_edge.predictor import Predictor
from fer_edge.system.progress import track
from pages.blocks import MeasuredBlock, add_write_option
from pages.framing import sample, scene

MARGINS = (-0.1, -0.05, 0.0, 0.05, 0.1, 0.2, 0.3)
"""Fractions of the box's side on every side; below 0 the box shrinks."""

_SURROUND = "gray"

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class MarginResult:
    """Accuracy of one margin on the ``n`` faces that a detector found.

    ``margin`` None is the uncut picture. Rates are fractions of 1.
    """

    detector: str
    margin: float | None
    n: int
    accuracy: float
    accuracy_ci95: tuple[float, float]


def measure_margins(
    crops: LabelledCrops, detectors: Sequence[FaceDetector], predictor: Predictor
) -> list[MarginResult]:
    """Measure every margin with every detector, each beside its faces without detection."""
    results = []
    for detector in detectors:
        frames = [scene(image, _SURROUND) for image in crops.images]
        boxes = [
            next((face.box for face in detector.detect(frame)), None)
            for frame in track(frames, len(frames), f"finding faces with {detector.name}")
        ]
        found = np.array([box is not None for box in boxes])
        faces = [(f, b) for f, b in zip(frames, boxes, strict=True) if b is not None]
        labels = crops.labels[found]
        whole = _hits(predictor, crops.images[found], labels)
        results.append(_result(detector.name, None, whole))
        for margin in MARGINS:
            cut = (cut_face(frame, _grown(box, margin)) for frame, box in faces)
            results.append(_result(detector.name, margin, _hits(predictor, cut, labels)))
    return results


def table(results: Sequence[MarginResult]) -> str:
    """Lay the results out as a Markdown table, one row a detector."""
    names = list(dict.fromkeys(result.detector for result in results))
    head = ["detector", "faces", "uncut", *(f"{margin:+.2f}" for margin in MARGINS)]
    rows = []
    for name in names:
        uncut, *cut = [result for result in results if result.detector == name]
        best = max(result.accuracy for result in cut)
        marked = [
            f"**{r.accuracy:.1%}**" if r.accuracy == best else f"{r.accuracy:.1%}" for r in cut
        ]
        rows.append([name, str(uncut.n), f"{uncut.accuracy:.1%}", *marked])
    return markdown_table(head, rows)


def _grown(box: Box, margin: float) -> Box:
    x, y, width, height = box
    more = round(margin * max(width, height))
    return x - more, y - more, width + 2 * more, height + 2 * more


def _hits(
    predictor: Predictor, crops: Iterable[npt.NDArray[np.uint8]], labels: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    said = [int(prediction.probabilities.argmax()) for prediction in predictor.predict_batch(crops)]
    return np.asarray(np.array(said, np.int64) == labels, np.bool_)


def _result(detector: str, margin: float | None, hits: npt.NDArray[np.bool_]) -> MarginResult:
    if not len(hits):
        return MarginResult(detector, margin, 0, 0.0, (0.0, 1.0))
    interval = wilson_interval(int(hits.sum()), len(hits))
    return MarginResult(detector, margin, len(hits), float(hits.mean()), interval)


SCHEMA = "fer-pages-margins/1"


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands, "margins", "measure accuracy after detection, for each margin", _margins
    )
    add_data_option(parser)
    parser.add_argument("--model", default=DEFAULT_MODEL, help=MODEL_HELP)
    parser.add_argument("--count", type=int, metavar="N", default=1000, help="pictures to draw")
    parser.add_argument("--seed", type=int, metavar="N", default=0, help="seed of the draw")
    add_write_option(parser)
    add_predictor_options(parser)


def _margins(options: Namespace) -> int:
    block = MeasuredBlock(options.write, "margins")
    detectors = [FaceDetector("haar"), FaceDetector("yunet")]
    with open_predictor(options.model, options) as predictor:
        crops = sample(options.data, options.count, options.seed)
        results = measure_margins(crops, detectors, predictor)
    text = table(results)
    print(text)
    block.write(
        f"Accuracy of the model `{options.model}` on the faces that were found in "
        f"{len(crops):,} pictures of FER2013's public-test, drawn with seed {options.seed}: "
        f"uncut, and cut out of a frame with each margin.\n\n{text}"
    )
    write_result(options, {"schema": SCHEMA, "results": [encode(result) for result in results]})
    return 0
