"""The two face detectors of OpenCV behind one call, and how each of them frames a face.

A detector gives `Detection` objects in its own framing; ``Detection.square`` is the same face in
FER2013's framing. The constants that convert are measured by ``fer-bench framing``,
see docs/faces.md.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from fer_edge.errors import ArtifactError, EngineError
from fer_edge.faces.yunet import FETCH_COMMAND

__all__ = ["Detection", "Detector", "Framing", "Haar", "Yunet"]

_CASCADE = "haarcascade_frontalface_default.xml"
_SYSTEM_CASCADES = (
    # where OpenCV lies when it does not come as a wheel, as on JetPack and Raspberry Pi OS
    Path("/usr/share/opencv4/haarcascades"),
    Path("/usr/local/share/opencv4/haarcascades"),
)
_HAAR_MIN_SCORE = 1.0
_HAAR_NEIGHBORS = 5
_HAAR_STEP = 1.1
# smaller windows than the face's own help to confirm it and to place its box
_HAAR_REACH = 0.75

_YUNET_MIN_SCORE = 0.7
_YUNET_NMS = 0.3
_YUNET_CANDIDATES = 5000
_YUNET_LANDMARKS = slice(4, 14)
# OpenCV 4.14 reads memory that nobody wrote where the padded input is 32 pixels high or wide,
# and finds faces of any size in it
_YUNET_MIN_SIDE = 64


@dataclass(frozen=True)
class Framing:
    """How FER2013's picture lies about what a detector found.

    ``side`` is the picture's side in widths of the detector's box. The detection's anchor lies
    ``right`` and ``down`` of the picture's centre, in sides of the picture.
    """

    side: float
    right: float
    down: float


@dataclass(frozen=True)
class Detection:
    """One face as its detector describes it, in pixels of the frame, not bound to lie within.

    ``box`` is (x, y, width, height), the upper left corner first; ``anchor`` the point (x, y)
    that ``framing`` speaks of. ``score`` has the detector's own scale.
    """

    box: tuple[float, float, float, float]
    anchor: tuple[float, float]
    score: float
    framing: Framing

    @property
    def square(self) -> tuple[float, float, float]:
        """Left, top and side of FER2013's picture of this face, in pixels of the frame."""
        side = self.framing.side * self.box[2]
        left = self.anchor[0] - (0.5 + self.framing.right) * side
        top = self.anchor[1] - (0.5 + self.framing.down) * side
        return left, top, side


class Detector(Protocol):
    """Finds faces in one frame at a time; not thread-safe."""

    name: ClassVar[str]
    framing: ClassVar[Framing]

    def find(self, frame: npt.NDArray[np.uint8], min_side: float) -> list[Detection]:
        """Find faces in ``frame``, uint8 ``(H, W)`` gray or ``(H, W, 3)`` BGR.

        ``min_side`` is the least side of ``Detection.square``, in pixels; a detector may use it
        to search less, and may still return smaller ones.
        """
        ...


class Haar:
    """The cascade that OpenCV 4 carries (Viola and Jones, CVPR 2001).

    Its anchor is the centre of its box, and its score what the last stage of the cascade gave:
    a number without bounds, mostly 2 to 10 for faces. Raises EngineError where OpenCV has no
    cascades.
    """

    name: ClassVar[str] = "haar"
    framing: ClassVar[Framing] = Framing(side=1.03, right=0.0, down=0.0)

    def __init__(self, min_score: float | None = None) -> None:
        classifier: Any = getattr(cv2, "CascadeClassifier", None)
        path = _cascade_path()
        if classifier is None or path is None:
            raise EngineError(
                f"OpenCV {cv2.__version__} comes without face cascades, and YuNet is not there "
                f"to find faces instead. Fetch it once with: {FETCH_COMMAND}, or give "
                "FaceDetector the path of its file"
            )
        self._cascade = classifier(str(path))
        self._min_score = _HAAR_MIN_SCORE if min_score is None else min_score

    def find(self, frame: npt.NDArray[np.uint8], min_side: float) -> list[Detection]:
        """Find faces; see `Detector`."""
        gray = frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)  # noqa: PLR2004
        least = max(1, math.floor(_HAAR_REACH * min_side / self.framing.side))
        boxes, _, weights = self._cascade.detectMultiScale3(
            gray,
            scaleFactor=_HAAR_STEP,
            minNeighbors=_HAAR_NEIGHBORS,
            minSize=(least, least),
            outputRejectLevels=True,
        )
        found = []
        for box, weight in zip(boxes, weights, strict=True):
            x, y, width, height = (float(value) for value in box)
            anchor = (x + width / 2, y + height / 2)
            if float(weight) >= self._min_score:
                found.append(Detection((x, y, width, height), anchor, float(weight), self.framing))
        return found


class Yunet:
    """A network of OpenCV Zoo, see `fer_edge.faces.yunet`.

    Its anchor is the mean of its five landmarks (eyes, nose, corners of the mouth), which stays
    where it is when hair or chin are outside the picture; its score lies between 0 and 1. Raises
    ArtifactError if ``path`` is not a YuNet.
    """

    name: ClassVar[str] = "yunet"
    framing: ClassVar[Framing] = Framing(side=1.24, right=0.0, down=0.07)

    def __init__(self, path: Path, min_score: float | None = None) -> None:
        maker: Any = getattr(cv2, "FaceDetectorYN", None)
        if maker is None:
            raise EngineError(
                f"OpenCV {cv2.__version__} cannot run YuNet; it needs OpenCV 4.8 or newer"
            )
        if not os.path.isfile(path):
            raise ArtifactError(f"no YuNet at {path}. Fetch it with: {FETCH_COMMAND}")
        side = _YUNET_MIN_SIDE
        least = _YUNET_MIN_SCORE if min_score is None else min_score
        try:
            self._network = maker.create(
                str(path), "", (side, side), least, _YUNET_NMS, _YUNET_CANDIDATES
            )
            # a network that is none of YuNet's family fails on its first frame only
            self._network.detect(np.zeros((side, side, 3), np.uint8))
        except cv2.error as problem:
            raise ArtifactError(
                f"{path} is damaged or is not a YuNet of OpenCV Zoo (OpenCV {cv2.__version__}: "
                f"{problem.err or problem}). Fetch it again with: {FETCH_COMMAND}"
            ) from problem

    def find(self, frame: npt.NDArray[np.uint8], min_side: float) -> list[Detection]:
        """Find faces; see `Detector`."""
        color = cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR) if frame.ndim == 2 else frame  # noqa: PLR2004
        height, width = color.shape[:2]
        below, right = max(0, _YUNET_MIN_SIDE - height), max(0, _YUNET_MIN_SIDE - width)
        if below or right:
            color = cv2.copyMakeBorder(color, 0, below, 0, right, cv2.BORDER_CONSTANT)
        self._network.setInputSize((width + right, height + below))
        rows = self._network.detect(color)[1]
        if rows is None:
            return []
        return [self._detection(row) for row in rows if np.isfinite(row).all()]

    def _detection(self, row: npt.NDArray[np.float32]) -> Detection:
        x, y, width, height = (float(value) for value in row[:4])
        landmarks = row[_YUNET_LANDMARKS].reshape(-1, 2).mean(axis=0)
        anchor = (float(landmarks[0]), float(landmarks[1]))
        return Detection((x, y, width, height), anchor, float(row[-1]), self.framing)


def _cascade_path() -> Path | None:
    carried = getattr(getattr(cv2, "data", None), "haarcascades", None)
    folders = ([Path(carried)] if carried else []) + list(_SYSTEM_CASCADES)
    return next((folder / _CASCADE for folder in folders if (folder / _CASCADE).is_file()), None)
