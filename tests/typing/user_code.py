"""What a user writes: read by the type checker, never run."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from fer_edge import LABELS, Emotion, FaceDetector, FerEdgeError, Prediction, Predictor, cut_face


def emotions_in(picture: npt.NDArray[np.uint8], fer: Predictor) -> list[Emotion]:
    """Find and classify every face of a frame."""
    spec = fer.info.spec.input
    crops = [
        cut_face(picture, face.box, margin=spec.crop_margin, square=spec.crop_square)
        for face in FaceDetector().detect(picture)
    ]
    return [prediction.emotion for prediction in fer.predict_batch(crops)]


def confident(path: Path) -> Prediction | None:
    """Classify a file, or give up."""
    try:
        with Predictor("default", backend="onnxruntime", threads=1, color="rgb") as fer:
            prediction = fer.predict(path)
    except FerEdgeError:
        return None
    shares: dict[str, float] = dict(zip(LABELS, prediction.probabilities.tolist(), strict=True))
    return prediction if shares[prediction.emotion.value] > 0.5 else None
