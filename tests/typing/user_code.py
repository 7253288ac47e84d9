"""What a user writes: read by the type checkers, never run."""

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import assert_type

import numpy as np
import numpy.typing as npt

from fer_edge import (
    LABELS,
    BackendOptions,
    Emotion,
    EmotionSmoother,
    FaceAnalyzer,
    FaceDetector,
    FerEdgeError,
    InputError,
    Prediction,
    Predictor,
    PredictorInfo,
    SmoothedPrediction,
    TrackedFace,
    __version__,
    annotate,
    cut_face,
)

Frame = npt.NDArray[np.uint8]

assert_type(__version__, str)
assert_type(LABELS, tuple[str, ...])


def emotions_in(picture: Frame, fer: Predictor) -> list[Emotion | None]:
    """Find and classify every face of a frame."""
    spec = fer.info.spec.input
    crops = [
        cut_face(picture, face.box, margin=spec.crop_margin, square=spec.crop_square)
        for face in FaceDetector().detect(picture)
    ]
    return [prediction.emotion for prediction in fer.predict_batch(crops, flip=True)]


def confident(path: Path) -> Prediction | None:
    """Classify a file, or give up."""
    try:
        with Predictor("default", backend="onnxruntime", threads=1, min_confidence=0.5) as fer:
            prediction = fer.predict(path, flip=True)
    except FerEdgeError:
        return None
    shares: dict[str, float] = dict(zip(LABELS, prediction.probabilities.tolist(), strict=True))
    assert_type(prediction.uncertain, bool)
    return prediction if shares[prediction.label] > 0.5 else None


def every_setting() -> PredictorInfo:
    """Everything that a Predictor may be asked for."""
    with Predictor(
        "dist/mobilenet",
        backend="openvino",
        device="cpu",
        precision="int8",
        threads=2,
        color="rgb",
        min_confidence=0.4,
        spec=None,
        options=BackendOptions(
            inference_precision="bf16",
            goal="throughput",
            spinning=False,
            trust=False,
            compiled=False,
        ),
    ) as fer:
        why: str = fer.info.reason
        side_by_side: int = fer.info.concurrency
        bound: int | None = fer.info.max_batch
        print(why, side_by_side, bound)
        return fer.info


def over_a_folder(fer: Predictor, folder: Path) -> Iterator[Emotion | None]:
    """Stream files; the first that is no picture raises."""
    stream = fer.predict_stream(sorted(folder.glob("*.jpg")), batch=8)
    for prediction in stream:
        assert_type(prediction, Prediction)
        if prediction.uncertain:
            stream.close()
        yield prediction.emotion


def over_a_video(fer: Predictor, crops: Iterable[Frame]) -> Iterator[SmoothedPrediction]:
    """Stream crops of one face; what is no crop is left out."""
    smoother = EmotionSmoother(0.5, hysteresis=0.1, gap=1.0)
    for answer in fer.predict_stream(crops, errors="yield", flip=True):
        if isinstance(answer, InputError):
            position: int | None = answer.index
            print(position, answer)
            continue
        assert_type(answer, Prediction)
        smooth = smoother.update(answer, time.monotonic())
        began: float = smooth.since
        if smooth.changed:
            print(began, smooth.label, smooth.to_dict())
        yield smooth
    smoother.reset()


def on_a_picture(path: Path, picture: Frame) -> Frame:
    """Find, classify and draw in one call each."""
    with FaceAnalyzer(Predictor("default"), FaceDetector("yunet", max_side=1280)) as faces:
        for face in faces.analyze(path):
            x, y, width, height = face.box
            print(x, y, width, height, face.emotion, face.label, face.confidence)
        return annotate(picture, faces.analyze(picture))


def through_a_video(path: Path) -> Iterator[TrackedFace]:
    """Follow faces; leaving the loop stops reading."""
    with FaceAnalyzer() as faces:
        for frame in faces.track(path, every=2):
            seconds: float = frame.time
            spent: float = frame.timings["detect"]
            print(seconds, spent, frame.dropped, annotate(frame.pixels, frame.faces).shape)
            for face in frame.faces:
                assert_type(face.smoothed, SmoothedPrediction)
                yield face


fer: Predictor


def start(model: str) -> None:
    """Make the Predictor of one process."""
    global fer  # noqa: PLW0603
    fer = Predictor(model, threads=1)


def classify(path: Path) -> Prediction:
    """Classify in that process."""
    return fer.predict(path)


def in_processes(paths: list[Path]) -> list[Prediction]:
    """Classify in several processes."""
    with ProcessPoolExecutor(2, initializer=start, initargs=("default",)) as pool:
        return list(pool.map(classify, paths))
