"""Drawing predictions into a picture."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from fer_edge.prediction import Prediction

__all__ = ["ClassifiedFace", "annotate"]

_FRAME, _TEXT, _TRACK, _BAR = (60, 200, 60), (255, 255, 255), (90, 90, 90), (60, 200, 60)
_SHADE = 0.35
_FONT = cv2.FONT_HERSHEY_SIMPLEX


class ClassifiedFace(Protocol):
    """What is drawn: a box as x, y, width and height in pixels, and a prediction."""

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Where the face is."""

    @property
    def prediction(self) -> Prediction:
        """What it shows."""


def annotate(
    frame: npt.NDArray[np.uint8], faces: Iterable[ClassifiedFace]
) -> npt.NDArray[np.uint8]:
    """Draw each face's box, its emotion and a bar per probability into a copy.

    ``frame`` is uint8 ``(H, W)`` gray or ``(H, W, 3)`` BGR; the copy is BGR. ``faces`` are what
    ``FaceAnalyzer.analyze`` gives.
    """
    is_gray = frame.ndim == 2  # noqa: PLR2004
    color = cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR) if is_gray else frame.copy()
    canvas = np.ascontiguousarray(color, np.uint8)
    unit = max(0.35, min(canvas.shape[:2]) / 900)
    for face in faces:
        _draw_face(canvas, face.box, face.prediction, unit)
    return canvas


def _draw_face(
    canvas: npt.NDArray[np.uint8],
    box: tuple[int, int, int, int],
    prediction: Prediction,
    unit: float,
) -> None:
    x, y, width, height = box
    line = max(1, round(2 * unit))
    cv2.rectangle(canvas, (x, y), (x + width, y + height), _FRAME, line, cv2.LINE_AA)
    row, panel_width = round(22 * unit), round(190 * unit)
    panel_height = row * (len(prediction.labels) + 1)
    left, top = _panel_corner(canvas, box, panel_width, panel_height)
    panel = canvas[top : top + panel_height, left : left + panel_width]
    panel[:] = (panel * _SHADE).astype(np.uint8)
    _write(canvas, str(prediction), (left, top, row), 1.2 * unit)
    named = zip(prediction.labels, prediction.probabilities, strict=True)
    for number, (name, share) in enumerate(named, 1):
        bar_top = top + number * row
        start = left + panel_width // 2
        length = panel_width // 2 - row // 4
        low, high = bar_top + row // 4, bar_top + 3 * row // 4
        cv2.rectangle(canvas, (start, low), (start + length, high), _TRACK, -1)
        cv2.rectangle(canvas, (start, low), (start + round(length * float(share)), high), _BAR, -1)
        _write(canvas, name, (left, bar_top, row), unit)


def _panel_corner(
    canvas: npt.NDArray[np.uint8], box: tuple[int, int, int, int], width: int, height: int
) -> tuple[int, int]:
    """Beside the box, right or left of it, and always inside the picture."""
    x, y, box_width, _ = box
    frame_height, frame_width = canvas.shape[:2]
    left = x + box_width + 4
    if left + width > frame_width:
        left = x - width - 4
    left = min(max(left, 0), max(frame_width - width, 0))
    return left, min(max(y, 0), max(frame_height - height, 0))


def _write(
    canvas: npt.NDArray[np.uint8], text: str, cell: tuple[int, int, int], unit: float
) -> None:
    left, top, row = cell
    place = (left + row // 4, top + round(0.72 * row))
    weight = max(1, round(1.4 * unit))
    cv2.putText(canvas, text, place, _FONT, 0.55 * unit, _TEXT, weight, cv2.LINE_AA)
