"""Faces in a frame: where they are, and the crop of each that the classifier takes.

A box means the same whichever detector found it: the square that FER2013's makers would have cut
out. Its crop without a margin looks like a FER2013 picture.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from fer_edge.arguments import real_number, whole_number
from fer_edge.backends.base import MAX_THREADS
from fer_edge.emotion import Emotion
from fer_edge.errors import ArtifactError, ConfigurationError, InputError
from fer_edge.faces.detectors import Detection, Detector, Haar
from fer_edge.images.pixels import check_frame
from fer_edge.images.reading import MAX_PIXELS, MAX_SIDE
from fer_edge.prediction import Prediction
from fer_edge.system.calls import under_way
from fer_edge.system.forking import ProcessBound

MIN_SIZE = 24
"""Least width and height of a box by default, in pixels of the frame."""

_MAX_GROWTH = 4
_DETECTORS = "a detector's model is 'yunet', 'haar' or the path of a YuNet file"


@dataclass(frozen=True)
class Face:
    """One face of a frame.

    ``box`` is (x, y, width, height) in pixels, the upper left corner first, within the frame.
    It is square unless the frame's border cuts it. ``score`` has the scale of the detector that
    found it: 0 to 1 for YuNet, without bounds for Haar.
    """

    box: tuple[int, int, int, int]
    score: float

    def __post_init__(self) -> None:
        x, y, width, height = self.box
        if min(x, y) < 0 or min(width, height) < 1:
            raise ValueError(f"a box is (x, y, width, height) within the frame, not {self.box}")


@dataclass(frozen=True, slots=True)
class AnalyzedFace:
    """One face of a picture and its apparent expression.

    ``box`` is (x, y, width, height) in pixels, the upper left corner first, within the picture.
    ``score`` is how sure the detector is, in its own scale (`Face`).
    """

    box: tuple[int, int, int, int]
    score: float
    prediction: Prediction

    @property
    def label(self) -> str:
        """The name of the most probable class."""
        return self.prediction.label

    @property
    def emotion(self) -> Emotion | None:
        """``label`` as an Emotion; None if the model's class is none of those."""
        return self.prediction.emotion

    @property
    def confidence(self) -> float:
        """Its probability, 0 to 1."""
        return self.prediction.confidence


class FaceDetector(ProcessBound):
    """Finds faces with YuNet, or with the Haar cascade of OpenCV 4.

    ``model`` is ``"yunet"`` for the packaged YuNet, ``"haar"``, or the path of another YuNet file.

    ``min_score`` leaves out faces that the detector is less sure of, in its own scale; None is 0.7
    for YuNet and 1 for Haar. ``min_size`` is the least width and height of a box, in pixels of
    the frame. A frame whose longer side exceeds ``max_side`` pixels is searched in a copy of that
    size: YuNet was made for faces of 10 to 300 pixels, and time grows with the area. ``threads``
    are those of YuNet's engine for one frame.

    Threads may share a detector; processes may not, as for a `Predictor`. Raises ArtifactError for
    a file that is no YuNet, EngineError if OpenCV has no cascade, and ConfigurationError for
    settings out of range.
    """

    @under_way
    def __init__(
        self,
        model: str | Path = "yunet",
        *,
        min_score: float | None = None,
        min_size: int = MIN_SIZE,
        max_side: int = 640,
        threads: int = 1,
    ) -> None:
        self._min_size = whole_number("min_size", min_size, MAX_SIDE)
        self.max_side = whole_number("max_side", max_side, MAX_SIDE)
        threads = whole_number("threads", threads, MAX_THREADS)
        if min_score is not None:
            min_score = real_number("min_score", min_score, "a finite number", math.isfinite)
        self._detector = _open(model, threads)
        self.min_score = self._detector.min_score if min_score is None else min_score

    @property
    def name(self) -> str:
        """Which detector it is: ``"yunet"`` or ``"haar"``."""
        return self._detector.name

    @under_way
    def detect(self, frame: npt.NDArray[np.uint8], *, min_score: float | None = None) -> list[Face]:
        """Find the faces of a frame, the largest first.

        ``frame`` is uint8 ``(H, W)`` gray or ``(H, W, 3)`` BGR; ``min_score`` replaces the
        detector's for this frame. Raises InputError for anything else and for a frame without
        pixels, and EngineError in a child of ``fork``.
        """
        self.require_own_process()
        frame = check_frame(frame)
        height, width = frame.shape[:2]
        size = self.searched_size(width, height)
        scale = min(1.0, self.max_side / max(width, height))
        small = (
            frame
            if size == (width, height)
            else cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        )
        found = self._detector.find(
            np.ascontiguousarray(small, np.uint8),
            self._min_size * scale,
            self.min_score if min_score is None else min_score,
        )
        boxes = ((_within(d, scale, frame.shape), d.score) for d in found)
        faces = [Face(box, score) for box, score in boxes if min(box[2:]) >= self._min_size]
        return sorted(faces, key=lambda face: (-face.box[2] * face.box[3], -face.score, face.box))

    def searched_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the copy in which faces of such a frame are searched."""
        scale = min(1.0, self.max_side / max(width, height))
        return max(1, _rounded(width * scale)), max(1, _rounded(height * scale))

    def __repr__(self) -> str:
        """Name the detector in use."""
        return f"<FaceDetector {self.name}>"


def cut_face(
    frame: npt.NDArray[np.uint8],
    box: Sequence[float],
    *,
    margin: float = 0.0,
    square: bool = True,
) -> npt.NDArray[np.uint8]:
    """Cut one face out of a frame, as ``InputSpec.crop_margin`` and ``crop_square`` say.

    ``frame`` is uint8 ``(H, W)`` or ``(H, W, 3)``, ``box`` (x, y, width, height) in its pixels.
    The box grows by ``margin`` of its longer side on every side and, if ``square``, to a square
    about its centre. Where that leaves the frame, the frame's border pixels are repeated, so
    that the face keeps its place and proportions. Returns a copy, uint8, with the frame's
    channels.

    Raises InputError for a bad frame, for a box without area, wholly outside the frame or more than
    four times as long as the frame, and for a crop of more pixels than a picture may have;
    ConfigurationError for a margin outside 0 to 1.
    """
    frame = check_frame(frame)
    x, y, width, height = _checked_box(box, frame.shape)
    margin = real_number("margin", margin, "0 to 1", lambda it: 0 <= it <= 1)
    longer = max(width, height)
    grown_width, grown_height = (
        max(1, _rounded((longer if square else side) + 2 * margin * longer))
        for side in (width, height)
    )
    if grown_width * grown_height > MAX_PIXELS:
        raise InputError(
            f"the crop of the box {box!r:.200} would have {grown_width} x {grown_height} pixels; "
            f"up to {MAX_PIXELS:,} are cut"
        )
    left = _rounded(x + width / 2 - grown_width / 2)
    top = _rounded(y + height / 2 - grown_height / 2)
    return _cut(frame, left, top, grown_width, grown_height)


def _open(model: str | Path, threads: int) -> Detector:
    if not isinstance(model, (str, os.PathLike)):
        raise ConfigurationError(f"{_DETECTORS}, not {type(model).__name__}")
    if model == "haar":
        return Haar()
    if model != "yunet" and not os.path.lexists(model):
        raise ArtifactError(f"there is no YuNet at {os.fspath(model)!r:.300}; {_DETECTORS}")
    from fer_edge.faces.yunet import Yunet  # ONNX Runtime, which the cascade does without

    return Yunet(None if model == "yunet" else Path(model), threads=threads)


def _within(
    detection: Detection, scale: float, shape: tuple[int, ...]
) -> tuple[int, int, int, int]:
    left, top, side = (value / scale for value in detection.square)
    whole = _rounded(side)
    # both ends are clamped to the frame; outside it the box has no width or height left
    first_x, last_x = (min(max(_rounded(left) + at, 0), shape[1]) for at in (0, whole))
    first_y, last_y = (min(max(_rounded(top) + at, 0), shape[0]) for at in (0, whole))
    return first_x, first_y, last_x - first_x, last_y - first_y


def _cut(
    frame: npt.NDArray[np.uint8], left: int, top: int, width: int, height: int
) -> npt.NDArray[np.uint8]:
    rows, columns = frame.shape[:2]
    # rounding may have pushed a box that only touches the frame out of it
    left, top = min(max(left, 1 - width), columns - 1), min(max(top, 1 - height), rows - 1)
    right, bottom = left + width, top + height
    inside = frame[max(top, 0) : min(bottom, rows), max(left, 0) : min(right, columns)]
    crop = cv2.copyMakeBorder(
        np.ascontiguousarray(inside),
        max(-top, 0),
        max(bottom - rows, 0),
        max(-left, 0),
        max(right - columns, 0),
        cv2.BORDER_REPLICATE,
    )
    return np.asarray(crop, np.uint8)


def _checked_box(box: Sequence[float], shape: tuple[int, ...]) -> tuple[float, float, float, float]:
    rows, columns = shape[:2]
    said = f"the box {box!r:.200} of a face in a frame of {columns} x {rows} pixels"
    wanted = f"{said} should be four finite numbers: x, y, width, height"
    try:
        x, y, width, height = map(float, box)
    except (TypeError, ValueError, OverflowError) as problem:
        raise InputError(wanted) from problem
    if isinstance(box, str) or not all(map(math.isfinite, (x, y, width, height))):
        raise InputError(wanted)
    if width <= 0 or height <= 0:
        raise InputError(f"{said} has no area")
    if x >= columns or y >= rows or x + width <= 0 or y + height <= 0:
        raise InputError(f"{said} is wholly outside")
    if max(width, height) > _MAX_GROWTH * max(rows, columns):
        raise InputError(f"{said} is more than {_MAX_GROWTH} times as long as the frame")
    return x, y, width, height


def _rounded(value: float) -> int:
    # Python rounds halves to even, which would make a crop's place depend on its parity
    return math.floor(value + 0.5)
