"""What fer-edge predict does with its pictures."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fer_edge.command import open_predictor, say, write_result
from fer_edge.errors import InputError
from fer_edge.faces.detection import FaceDetector, cut_face
from fer_edge.images.annotation import annotate
from fer_edge.images.reading import read_image
from fer_edge.prediction import Prediction
from fer_edge.predictor import Predictor
from fer_edge.system.files import write_bytes
from fer_edge.system.progress import track

__all__ = ["predict"]

SCHEMA = "fer-edge-predict/1"

Box = tuple[int, int, int, int]
FoundFace = tuple["Box | None", Prediction]


def predict(options: Namespace) -> int:
    """Classify every picture, print and write what came; returns the exit code."""
    detector = None if options.crop else FaceDetector(options.detector)
    results: list[dict[str, Any]] = []
    unreadable = 0
    with open_predictor(options.model, options) as predictor:
        targets = _annotated_files(options.images, options.annotate)
        pairs = zip(options.images, targets, strict=True)
        for path, target in track(pairs, len(targets), "predicting"):
            try:
                picture = read_image(path)
                faces = _faces(picture, detector, predictor)
            except InputError as problem:
                unreadable += 1
                say(f"fer-edge predict: {path}: {problem}")
                continue
            results.append({"image": str(path), "faces": [_plain(face) for face in faces]})
            _print(path, faces)
            if target is not None:
                _write_annotated(target, picture, faces)
    write_result(options, {"schema": SCHEMA, "results": results})
    return InputError.exit_code if unreadable else 0


def _faces(
    picture: npt.NDArray[np.uint8], detector: FaceDetector | None, predictor: Predictor
) -> list[FoundFace]:
    if detector is None:
        return [(None, predictor.predict(picture))]
    spec = predictor.info.spec.input
    boxes = [face.box for face in detector.detect(picture)]
    crops = [
        cut_face(picture, box, margin=spec.crop_margin, square=spec.crop_square) for box in boxes
    ]
    return list(zip(boxes, predictor.predict_stream(crops), strict=True))


def _plain(face: FoundFace) -> dict[str, Any]:
    box, prediction = face
    plain = prediction.to_dict()
    del plain["uncertain"]  # of a Predictor's min_confidence, which the command does not ask for
    return {"box": None if box is None else list(box), **plain}


def _print(path: Path, faces: list[FoundFace]) -> None:
    if not faces:
        print(f"{path}: no face found")
    for box, prediction in faces:
        place = "" if box is None else " at {}, {}, {} x {}".format(*box)
        print(f"{path}{place}: {prediction}")
        for name, share in prediction.to_dict()["probabilities"].items():
            print(f"  {name:<9} {share:6.1%}  {'█' * round(30 * share)}")


def _annotated_files(images: list[Path], folder: Path | None) -> Sequence[Path | None]:
    """A file of its own for every picture, numbered where the name is taken, and none of them."""
    if folder is None:
        return [None] * len(images)
    folder.mkdir(parents=True, exist_ok=True)
    taken = {image.resolve() for image in images}
    targets = []
    for image in images:
        names = (f"{image.stem}{f'-{n}' if n else ''}.faces.png" for n in count())
        free = (folder / name for name in names if (folder / name).resolve() not in taken)
        targets.append(next(free))
        taken.add(targets[-1].resolve())
    return targets


def _write_annotated(target: Path, picture: npt.NDArray[np.uint8], faces: list[FoundFace]) -> None:
    height, width = picture.shape[:2]
    boxed = [(box or (0, 0, width - 1, height - 1), prediction) for box, prediction in faces]
    _, encoded = cv2.imencode(".png", annotate(picture, boxed))
    write_bytes(target, encoded.tobytes())
    print(f"  wrote {target}")
