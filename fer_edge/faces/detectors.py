"""What a face detector is, how each of them frames a face, and OpenCV's Haar cascade.

A detector gives `Detection` objects in its own framing; ``Detection.square`` is the same face in
FER2013's framing. The constants that convert between them are measured, see docs/faces.md.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from fer_edge.errors import EngineError
from fer_edge.system.forking import ProcessBound

_CASCADE = "haarcascade_frontalface_default.xml"
_SYSTEM_CASCADES = (
    # where OpenCV is when it does not come as a wheel, as on JetPack and Raspberry Pi OS
    Path("/usr/share/opencv4/haarcascades"),
    Path("/usr/local/share/opencv4/haarcascades"),
)
_HAAR_NEIGHBORS = 5
_HAAR_STEP = 1.1
# smaller windows than the face's own help to confirm it and to place its box
_HAAR_REACH = 0.75


@dataclass(frozen=True)
class Framing:
    """Where FER2013's picture sits relative to what a detector found.

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
    """Finds faces in one frame at a time; threads may share it."""

    name: ClassVar[str]
    framing: ClassVar[Framing]
    min_score: ClassVar[float]

    def find(
        self, frame: npt.NDArray[np.uint8], min_side: float, min_score: float | None = None
    ) -> list[Detection]:
        """Find faces in ``frame``, uint8 ``(H, W)`` gray or ``(H, W, 3)`` BGR.

        ``min_side`` is the least side of ``Detection.square``, in pixels; a detector may use it
        to search less, and may still return smaller ones. ``min_score`` None is the class's.
        """
        ...


class Haar(ProcessBound):
    """The cascade that OpenCV 4 carries (Viola and Jones, CVPR 2001).

    Its anchor is the centre of its box, and its score what the last stage of the cascade gave:
    a number without bounds, mostly 2 to 10 for faces. Raises EngineError where OpenCV has no
    cascades.
    """

    name: ClassVar[str] = "haar"
    framing: ClassVar[Framing] = Framing(side=1.03, right=0.0, down=0.0)
    min_score: ClassVar[float] = 1.0

    def __init__(self) -> None:
        classifier: Any = getattr(cv2, "CascadeClassifier", None)
        path = _cascade_path()
        if classifier is None or path is None:
            raise EngineError(
                f"OpenCV {cv2.__version__} has no Haar cascades; leave the detector's model out to "
                "take YuNet, which finds more faces"
            )
        self._cascade = classifier(str(path))
        self._turn = threading.Lock()  # the cascade keeps buffers between its steps

    def find(
        self, frame: npt.NDArray[np.uint8], min_side: float, min_score: float | None = None
    ) -> list[Detection]:
        """Find faces; see `Detector`."""
        self.require_own_process()  # before the lock, which a fork may leave locked
        least_score = self.min_score if min_score is None else min_score
        gray = frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)  # noqa: PLR2004
        least = max(1, math.floor(_HAAR_REACH * min_side / self.framing.side))
        with self._turn:
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
            if float(weight) >= least_score:
                found.append(Detection((x, y, width, height), anchor, float(weight), self.framing))
        return found


def _cascade_path() -> Path | None:
    carried = getattr(getattr(cv2, "data", None), "haarcascades", None)
    folders = ([Path(carried)] if carried else []) + list(_SYSTEM_CASCADES)
    return next((folder / _CASCADE for folder in folders if (folder / _CASCADE).is_file()), None)
