"""FaceAnalyzer: the faces of a picture, a video or a camera, in one call."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fer_edge.errors import ClosedError
from fer_edge.faces.detection import AnalyzedFace, Face, FaceDetector, cut_face
from fer_edge.images.reading import read_image
from fer_edge.live.sources import Source
from fer_edge.live.tracking import Tracking
from fer_edge.prediction import Prediction
from fer_edge.predictor import Predictor
from fer_edge.system.calls import under_way
from fer_edge.system.forking import ProcessBound


class FaceAnalyzer(ProcessBound):
    """Finds the faces of pictures and videos and classifies each.

    ``predictor`` and ``detector`` are by default the packaged model and the packaged YuNet, made
    here and closed by ``close``. Those that are given may be shared, and stay open.

    Many threads may share an analyzer. What holds for a `Predictor` after ``fork`` holds here:
    make an analyzer in each process.
    """

    def __init__(
        self, predictor: Predictor | None = None, detector: FaceDetector | None = None
    ) -> None:
        self.detector = FaceDetector() if detector is None else detector
        self._owns_predictor = predictor is None
        self.predictor = Predictor() if predictor is None else predictor
        self._closed = False

    @under_way
    def analyze(
        self, picture: str | os.PathLike[str] | npt.NDArray[np.uint8]
    ) -> list[AnalyzedFace]:
        """Find and classify the faces of one picture, the largest first; none gives ``[]``.

        ``picture`` is the path of a JPEG, PNG, WebP, BMP or TIFF file, or uint8 ``(H, W)`` gray or
        ``(H, W, 3)`` BGR. The faces are classified in one call of the engine. Raises InputError
        for anything else, and ClosedError after ``close``.
        """
        self._check_open()
        frame = read_image(picture) if isinstance(picture, (str, os.PathLike)) else picture
        faces = self.detector.detect(frame)
        predictions = self.classify(frame, faces)
        return [
            AnalyzedFace(face.box, face.score, prediction)
            for face, prediction in zip(faces, predictions, strict=True)
        ]

    def classify(self, frame: npt.NDArray[np.uint8], faces: Sequence[Face]) -> list[Prediction]:
        """Classify faces that were found in a frame, cut as the model's spec says."""
        self._check_open()
        spec = self.predictor.info.spec.input
        crops = [
            cut_face(frame, face.box, margin=spec.crop_margin, square=spec.crop_square)
            for face in faces
        ]
        if self.predictor.color == "rgb":
            crops = [crop[..., ::-1] if crop.ndim > 2 else crop for crop in crops]  # noqa: PLR2004
        at_once = self.predictor.info.max_batch or len(crops) or 1
        parts = (crops[start : start + at_once] for start in range(0, len(crops), at_once))
        return [prediction for part in parts for prediction in self.predictor.predict_batch(part)]

    def track(self, source: Source, *, every: int = 1) -> Tracking:
        """Follow the faces of a video or a camera, frame by frame.

        ``source`` is a video file, the number of a camera, an address (``rtsp://...``), a GStreamer
        pipeline, or an iterable of frames with their times in seconds. Of files and iterables every
        frame is given, of live sources always the newest; a live source that is lost is opened
        again. With ``every`` more than 1 faces are searched only in each such frame, and those
        between have them where they are expected: for slow devices.

        Raises InputError for a file that cannot be decoded, EngineError for a camera or stream that
        cannot be opened, and ClosedError after ``close``.
        """
        self._check_open()
        labels = self.predictor.info.spec.labels
        return Tracking(source, self.detector, self.classify, labels, every=every)

    def close(self) -> None:
        """Close the predictor if it was made here; may be repeated."""
        self._closed = True
        if self._owns_predictor:
            self.predictor.close()

    def __enter__(self) -> FaceAnalyzer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<FaceAnalyzer {self.detector!r} {self.predictor!r}>"

    def _check_open(self) -> None:
        self.require_own_process()
        if self._closed:
            raise ClosedError("this FaceAnalyzer is closed; make a new one")
