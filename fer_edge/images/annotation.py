"""Drawing predictions into a picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from fer_edge.images.pixels import check_frame
from fer_edge.prediction import Prediction

Color = tuple[int, int, int]
Box = tuple[int, int, int, int]
Image = npt.NDArray[np.uint8]

# Okabe and Ito, "Color Universal Design", 2008: people with any color vision can tell these apart.
# Red, green, blue.
_COLORS: dict[str, Color] = {
    "angry": (213, 94, 0),
    "disgust": (0, 158, 115),
    "fear": (204, 121, 167),
    "happy": (230, 159, 0),
    "sad": (0, 114, 178),
    "surprise": (86, 180, 233),
    "neutral": (153, 153, 153),
    "contempt": (240, 228, 66),
}
_TEXT, _EMPTY, _SHADE = (255, 255, 255), (90, 90, 90), 0.3
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_ROW, _FONT_SIZE = 18, 0.45
_NAME, _BAR, _PERCENT, _GAP = 68, 80, 42, 4
_FULL_SIZE = 600
"""Shorter side in pixels of a picture that the lengths above are made for."""

_SIZES = (1.0, 0.75)
_LABEL_SIZES = (1.0, 0.75, 0.55, 0.4)
_LEAST = 0.6
_DARK = 128


class ClassifiedFace(Protocol):
    """What is drawn: a box as x, y, width and height in pixels, and a prediction.

    Where there are ``smoothed`` and ``track_id``, as in a video, the one is drawn instead and the
    other beside it.
    """

    @property
    def box(self) -> Box:
        """Where the face is."""

    @property
    def prediction(self) -> Prediction:
        """What it shows."""


@dataclass(frozen=True)
class _Place:
    """Where a panel, or a label of one line, goes."""

    area: Box
    unit: float
    is_panel: bool


def annotate(frame: Image, faces: Iterable[ClassifiedFace]) -> Image:
    """Draw each face's box and emotion into a copy, with a bar for each probability.

    ``frame`` is uint8 ``(H, W)`` gray or ``(H, W, 3)`` BGR; the copy is BGR. ``faces`` are what
    ``FaceAnalyzer`` gives. Bars are drawn where they cover no face, or left out if there is no
    such place. Only a face that fills the picture has its label drawn on it. Raises InputError for
    anything but a frame.
    """
    frame = check_frame(frame)
    is_gray = frame.ndim == 2  # noqa: PLR2004
    color = cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR) if is_gray else frame.copy()
    canvas = np.ascontiguousarray(color, np.uint8)
    shown = list(faces)
    unit = max(_LEAST, min(canvas.shape[:2]) / _FULL_SIZE)
    for face in shown:
        prediction = _shown(face)
        _draw_box(canvas, face.box, _bgr(label_color(prediction.label, prediction.labels)), unit)
    taken = [face.box for face in shown]
    for face in shown:
        prediction, title = _shown(face), _title(face)
        rows = len(prediction.labels)
        place = _place(canvas, face.box, taken, unit=unit, title=title, rows=rows)
        taken.append(place.area)
        _draw_title(canvas, place, title, _bgr(label_color(prediction.label, prediction.labels)))
        if place.is_panel:
            _draw_bars(canvas, place, prediction)
    return canvas


def label_color(label: str, labels: Sequence[str]) -> Color:
    """Red, green and blue in which a class is drawn; the color-blind can tell the first eight."""
    known = list(_COLORS.values())
    return _COLORS.get(label) or known[labels.index(label) % len(known)]


def _shown(face: ClassifiedFace) -> Prediction:
    smoothed: Prediction | None = getattr(face, "smoothed", None)
    return face.prediction if smoothed is None else smoothed


def _title(face: ClassifiedFace) -> str:
    number = getattr(face, "track_id", None)
    return f"{'' if number is None else f'{number}: '}{_shown(face)}"


def _place(
    canvas: Image, box: Box, taken: Sequence[Box], *, unit: float, title: str, rows: int
) -> _Place:
    """The first place that lies in the picture and covers nothing, or the lower end of the box."""
    height, width = canvas.shape[:2]
    for place in _places(box, unit, title, rows, (width, height)):
        x, y, across, down = place.area
        inside = x >= 0 and y >= 0 and x + across <= width and y + down <= height
        if inside and not any(_overlap(place.area, other) for other in taken):
            return place
    small = unit * min(1.0, box[2] / max(1, _label_size(title, unit)[0]))
    across, down = _label_size(title, small)
    left = min(max(box[0], 0), max(0, width - across))
    top = min(max(box[1] + box[3] - down, 0), max(0, height - down))
    return _Place((left, top, min(across, width), min(down, height)), small, is_panel=False)


def _places(
    box: Box, unit: float, title: str, rows: int, frame: tuple[int, int]
) -> Iterator[_Place]:
    for size in _SIZES:
        across = max(
            round((_NAME + _BAR + _PERCENT) * unit * size), _label_size(title, unit * size)[0]
        )
        down = round(_ROW * unit * size) * (rows + 1)
        for area in _beside(box, across, down, frame, round(_GAP * unit)):
            yield _Place(area, unit * size, is_panel=True)
    for size in _LABEL_SIZES:
        across, down = _label_size(title, unit * size)
        for area in _beside(box, across, down, frame, 0)[::-1]:
            yield _Place(area, unit * size, is_panel=False)


def _beside(
    box: Box, across: int, down: int, frame: tuple[int, int], gap: int
) -> list[tuple[int, int, int, int]]:
    """Right and left of a box, below and above, each moved along it into the frame."""
    x, y, width, height = box
    along_x = min(max(x, 0), max(0, frame[0] - across))
    along_y = min(max(y, 0), max(0, frame[1] - down))
    corners = [(x + width + gap, along_y), (x - gap - across, along_y)]
    corners += [(along_x, y + height + gap), (along_x, y - gap - down)]
    return [(left, top, across, down) for left, top in corners]


def _overlap(one: Box, other: Box) -> bool:
    return all(
        one[axis] < other[axis] + other[axis + 2] and other[axis] < one[axis] + one[axis + 2]
        for axis in (0, 1)
    )


def _label_size(title: str, unit: float) -> tuple[int, int]:
    (width, _), _ = cv2.getTextSize(title, _FONT, _FONT_SIZE * unit, _weight(unit))
    return width + round(_ROW * unit / 2), round(_ROW * unit)


def _draw_box(canvas: Image, box: Box, color: Color, unit: float) -> None:
    x, y, width, height = box
    line = max(1, round(2 * unit))
    cv2.rectangle(canvas, (x, y), (x + width - 1, y + height - 1), color, line)


def _draw_title(canvas: Image, place: _Place, title: str, color: Color) -> None:
    left, top, width, height = place.area
    row = min(height, round(_ROW * place.unit))
    if place.is_panel:
        panel = canvas[top : top + height, left : left + width]
        panel[:] = cv2.convertScaleAbs(panel, alpha=_SHADE)
    canvas[top : top + row, left : left + width] = color
    # luma of BT.601: black is read better on light colors
    light = 0.114 * color[0] + 0.587 * color[1] + 0.299 * color[2] > _DARK
    _write(canvas, title, (left + row // 4, top), place.unit, (0, 0, 0) if light else _TEXT)


def _draw_bars(canvas: Image, place: _Place, prediction: Prediction) -> None:
    unit, (left, top, _, _) = place.unit, place.area
    row, start, length = round(_ROW * unit), left + round(_NAME * unit), round(_BAR * unit)
    named = zip(prediction.labels, map(float, prediction.probabilities), strict=True)
    for number, (name, share) in enumerate(named, 1):
        y = top + number * row
        low, high = y + row // 4, y + row - row // 4 - 1
        color = _bgr(label_color(name, prediction.labels))
        cv2.rectangle(canvas, (start, low), (start + length, high), _EMPTY, -1)
        if filled := round(length * share):
            cv2.rectangle(canvas, (start, low), (start + filled, high), color, -1)
        _write(canvas, name, (left + row // 4, y), unit, _TEXT)
        _write(canvas, f"{share:.0%}", (start + length + row // 4, y), unit, _TEXT)


def _write(canvas: Image, text: str, corner: tuple[int, int], unit: float, color: Color) -> None:
    place = corner[0], corner[1] + round(0.7 * _ROW * unit)
    cv2.putText(canvas, text, place, _FONT, _FONT_SIZE * unit, color, _weight(unit), cv2.LINE_AA)


def _weight(unit: float) -> int:
    return max(1, round(unit))


def _bgr(color: Color) -> Color:
    return color[::-1]
