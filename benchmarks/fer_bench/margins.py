"""Which margin around a detected face serves the classifier: accuracy through detection and cut.

Pictures of FER2013, enlarged and set into an empty surround, go the way of a user's photo: a
detector finds the face, the box grows by the margin, the crop is classified.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fer_bench.framing import scene
from fer_bench.tables import markdown_table
from fer_edge.evaluation.fer2013 import LabelledCrops
from fer_edge.evaluation.metrics import wilson_interval
from fer_edge.faces.detection import FaceDetector, cut_face
from fer_edge.predictor import Predictor
from fer_edge.system.progress import track

__all__ = ["MARGINS", "MarginResult", "measure_margins", "table"]

MARGINS = (-0.1, -0.05, 0.0, 0.05, 0.1, 0.2, 0.3)
"""Fractions of the box's side on every side; below 0 the box shrinks."""

_SURROUND = "gray"

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class MarginResult:
    """Accuracy of one margin on the ``n`` faces that a detector found; None is without detection.

    Fractions of 1.
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
        own = [result for result in results if result.detector == name]
        best = max(result.accuracy for result in own[1:])
        cells = [f"{r.accuracy:.1%}" for r in own]
        marked = [
            f"**{cell}**" if r.margin is not None and r.accuracy == best else cell
            for cell, r in zip(cells, own, strict=True)
        ]
        rows.append([name, str(own[0].n), *marked])
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
