"""OpenCV Zoo's YuNet, run by ONNX Runtime and decoded in NumPy.

Wu et al., "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research 20,
2023. The file is part of this package, with its MIT licence beside it. The decoding follows
OpenCV's ``FaceDetectorYN``; ONNX Runtime takes a third of the time of ``cv2.dnn``.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt

from fer_edge.backends.base import one_line
from fer_edge.backends.onnxruntime_engine import quiet_session
from fer_edge.errors import ArtifactError, EngineError
from fer_edge.faces.detectors import Detection, Framing
from fer_edge.system.forking import ProcessBound
from fer_edge.system.read_file import read_file

YUNET_FILE = Path(__file__).with_name("models") / "face_detection_yunet_2026may.onnx"
"""The packaged file."""

YUNET_SHA256 = "ebafce4e3c118d6554634be5c27ab333b4c047a9a8c3faf1d7cf93101c22f0f0"

MAX_OVERLAP = 0.3
"""Of two boxes with a larger intersection over union only the better is kept."""

_MAX_CANDIDATES = 5000
_STRIDES = (8, 16, 32)
_OUTPUTS = [f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in _STRIDES]
_LANDMARKS = 5
_MAX_BYTES = 64 << 20

Floats = npt.NDArray[np.float32]


class Yunet(ProcessBound):
    """Finds faces with YuNet; threads may share it, processes may not.

    A detection's anchor is the mean of its five landmarks (eyes, nose, corners of the mouth),
    which stays where it is when hair or chin are outside the picture. Its score lies between 0
    and 1. ``path`` is another YuNet file than the packaged one. ``threads`` are ONNX Runtime's.

    Raises ArtifactError if the file is missing, damaged or no YuNet of dynamic size.
    """

    name: ClassVar[str] = "yunet"
    framing: ClassVar[Framing] = Framing(side=1.24, right=0.0, down=0.07)
    min_score: ClassVar[float] = 0.7

    def __init__(self, path: Path | None = None, *, threads: int = 1) -> None:
        self._session = _open(path, threads)
        self._input = self._session.get_inputs()[0].name
        try:
            # a network that is no YuNet fails here, and not in the midst of a video
            self.find(np.zeros((64, 96, 3), np.uint8), 1)
        except (EngineError, ValueError, IndexError) as problem:
            raise _no_yunet(path or YUNET_FILE, one_line(problem)) from problem

    def find(
        self, frame: npt.NDArray[np.uint8], min_side: float, min_score: float | None = None
    ) -> list[Detection]:
        """Find faces; see `fer_edge.faces.detectors.Detector`."""
        self.require_own_process()
        del min_side  # YuNet takes the same time for faces of all sizes
        blob = _blob(frame)
        try:
            outputs = self._session.run(_OUTPUTS, {self._input: blob})
        except Exception as problem:  # onnxruntime's errors share no base of their own
            raise EngineError(
                f"ONNX Runtime failed to find faces in a frame of shape {frame.shape}: "
                f"{one_line(problem)}"
            ) from problem
        least = self.min_score if min_score is None else min_score
        boxes, landmarks, scores = _decode(outputs, blob.shape[3], least)
        return [
            self._detection(boxes[kept], landmarks[kept], scores[kept]) for kept in _distinct(boxes)
        ]

    def _detection(self, box: Floats, landmarks: Floats, score: np.float32) -> Detection:
        x, y, width, height = map(float, box)
        across, down = map(float, landmarks.mean(axis=0))
        return Detection((x, y, width, height), (across, down), float(score), self.framing)


def _open(path: Path | None, threads: int) -> Any:
    where = YUNET_FILE if path is None else path
    data = read_file(where, "YuNet", _MAX_BYTES, ArtifactError)
    if path is None and (came := hashlib.sha256(data).hexdigest()) != YUNET_SHA256:
        raise ArtifactError(
            f"{where} is damaged: its sha256 is {came}, expected is {YUNET_SHA256}. Install "
            "fer-edge again with: pip install --force-reinstall fer-edge"
        )
    try:
        return quiet_session(data, threads)
    except Exception as problem:  # as above
        raise _no_yunet(where, one_line(problem)) from problem


def _no_yunet(path: Path, problem: str) -> ArtifactError:
    return ArtifactError(
        f"{path} is damaged or is not a YuNet of dynamic size ({problem}). Leave the "
        "detector's model out to take the packaged YuNet"
    )


def _blob(frame: npt.NDArray[np.uint8]) -> Floats:
    """Float32 ``(1, 3, H, W)``, BGR from 0 to 255, zeros below and right up to whole strides."""
    height, width = frame.shape[:2]
    coarsest = _STRIDES[-1]
    rows, columns = (-(-side // coarsest) * coarsest for side in (height, width))
    blob = np.zeros((1, 3, rows, columns), np.float32)
    planes = [frame] * 3 if frame.ndim == 2 else cv2.split(frame)  # noqa: PLR2004 - gray
    for number, plane in enumerate(planes):
        blob[0, number, :height, :width] = plane
    return blob


def _decode(outputs: list[Floats], width: int, min_score: float) -> tuple[Floats, Floats, Floats]:
    """Boxes ``(N, 4)`` as x, y, width, height, landmarks ``(N, 5, 2)`` and scores ``(N,)``.

    All in pixels of the network's input, of ``width``, from the best score to the least.
    """
    parts: list[tuple[Floats, Floats, Floats]] = []
    for number, stride in enumerate(_STRIDES):
        cls, obj, bbox, kps = (outputs[number + kind * len(_STRIDES)][0] for kind in range(4))
        scores = np.sqrt(np.clip(cls[:, 0], 0, 1) * np.clip(obj[:, 0], 0, 1))
        (chosen,) = np.nonzero(scores >= min_score)
        cells = np.stack([chosen % (width // stride), chosen // (width // stride)], axis=1)
        cells = cells.astype(np.float32)
        size = np.exp(bbox[chosen, 2:]) * stride
        corner = (cells + bbox[chosen, :2]) * stride - size / 2
        landmarks = (cells[:, None] + kps[chosen].reshape(-1, _LANDMARKS, 2)) * stride
        parts.append((np.hstack([corner, size]), landmarks, scores[chosen]))
    boxes, marks, scores = (np.concatenate(part) for part in zip(*parts, strict=True))
    finite = np.isfinite(boxes).all(axis=1) & np.isfinite(marks).all(axis=(1, 2))
    (usable,) = np.nonzero(finite & np.isfinite(scores))
    order = usable[np.argsort(-scores[usable], kind="stable")][:_MAX_CANDIDATES]
    return boxes[order], marks[order], scores[order]


def _distinct(boxes: Floats) -> list[int]:
    """Leave out boxes that overlap a better one; greedy, the best come first."""
    left_top, size = boxes[:, :2], boxes[:, 2:]
    right_bottom, areas = left_top + size, size.prod(axis=1)
    remaining = np.arange(len(boxes))
    kept = []
    while len(remaining):
        best, others = remaining[0], remaining[1:]
        kept.append(int(best))
        shared = np.minimum(right_bottom[others], right_bottom[best]) - np.maximum(
            left_top[others], left_top[best]
        )
        overlap = np.clip(shared, 0, None).prod(axis=1)
        remaining = others[overlap <= MAX_OVERLAP * (areas[others] + areas[best] - overlap)]
    return kept
