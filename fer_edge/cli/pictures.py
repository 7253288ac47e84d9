"""What fer-edge predict does with its pictures."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fer_edge.analyzer import FaceAnalyzer
from fer_edge.command import open_predictor, say, write_result
from fer_edge.errors import InputError
from fer_edge.evaluation.picture_files import PICTURES, opened
from fer_edge.faces.detection import AnalyzedFace, FaceDetector
from fer_edge.images.annotation import annotate
from fer_edge.images.reading import PICTURE_SUFFIXES, read_image
from fer_edge.predictor import Predictor
from fer_edge.system.files import write_bytes
from fer_edge.system.progress import track
from fer_edge.system.read_file import as_address

SCHEMA = "fer-edge-predict/1"

_ANNOTATED = ".faces.png"
_MANY = 10
"""Of more pictures than this each gets one line, and all of them a summary."""

Image = npt.NDArray[np.uint8]


def predict(options: Namespace) -> int:
    """Classify every picture, print and write what came; returns the exit code."""
    part, parts = options.shard
    pictures = list(_expanded(options.images))[part - 1 :: parts]
    many = len(pictures) > _MANY
    results: list[dict[str, Any]] = []
    failed = 0
    detector = FaceDetector(options.detector, max_side=options.max_side)
    with open_predictor(options.model, options) as predictor:
        emotions = Counter(dict.fromkeys(predictor.info.spec.labels, 0))
        analyzer = FaceAnalyzer(predictor, detector)
        targets = _annotated_files(pictures, options.annotate)
        pairs = zip(pictures, targets, strict=True)
        for path, target in track(pairs, len(pictures), "predicting"):
            try:
                picture = _read(path)
                whole = [_whole(picture, predictor)] if options.crop else None
                faces = analyzer.analyze(picture) if whole is None else whole
            except InputError as problem:
                named = as_address(path) or str(path)
                place = "" if named in str(problem) else f"{named}: "  # once is enough
                say(f"fer-edge predict: {place}{problem}")
                results.append({"image": str(path), "faces": [], "error": str(problem)})
                failed += 1
                continue
            results.append({"image": str(path), "faces": _plain(faces, options.crop)})
            emotions.update(face.label for face in faces)
            if not faces:
                print(f"{path}: no face found{search_hint(detector, *picture.shape[1::-1])}")
            elif many:
                print(f"{path}: {', '.join(str(face.prediction) for face in faces)}")
            else:
                _print(path, faces, options.crop)
            if target is not None:
                _, encoded = cv2.imencode(".png", annotate(picture, faces))
                write_bytes(target, encoded.tobytes())
                print(f"  wrote {target}")
    if many:
        _print_summary(len(pictures), failed, emotions)
    write_result(options, {"schema": SCHEMA, "results": results})
    return InputError.exit_code if failed else 0


def _expanded(paths: Iterable[Path]) -> Iterator[Path]:
    """Files as they are given, and of a folder the pictures in it, in the order of their names.

    Links are followed. Raises DataError for what cannot be listed, as data sets do.
    """
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        with opened(path) as listing:
            names = [
                file.name
                for file in listing.files
                if file.suffix in PICTURES and not file.last.endswith(_ANNOTATED)
            ]
        yield from [path / name for name in names] or [path]


def _read(path: Path) -> Image:
    if path.is_dir():
        known = ", ".join(PICTURE_SUFFIXES)
        raise InputError(f"{path} is a folder without pictures, whose names end in {known}")
    return read_image(path)


def _whole(picture: Image, predictor: Predictor) -> AnalyzedFace:
    height, width = picture.shape[:2]
    return AnalyzedFace((0, 0, width, height), 1.0, predictor.predict(picture))


def _plain(faces: Iterable[AnalyzedFace], crop: bool) -> list[dict[str, Any]]:
    plain = []
    for face in faces:
        values = face.prediction.to_dict()
        del values["uncertain"]  # no option of the command sets a least confidence
        plain.append({"box": None if crop else list(face.box), **values})
    return plain


def search_hint(detector: FaceDetector, width: int, height: int) -> str:
    """What to try where a face may be too small in the copy that was searched."""
    small = detector.searched_size(width, height)
    if small == (width, height):
        return ""
    larger = min(2 * detector.max_side, max(width, height))
    return (
        f" in a copy of {small[0]} x {small[1]} pixels; to find smaller faces: --max-side {larger}"
    )


def _print(path: Path, faces: Iterable[AnalyzedFace], crop: bool) -> None:
    for face in faces:
        place = "" if crop else " at {}, {}, {} x {}".format(*face.box)
        print(f"{path}{place}: {face.prediction}")
        for name, share in face.prediction.to_dict()["probabilities"].items():
            print(f"  {name:<9} {share:6.1%}  {'█' * round(30 * share)}")


def _print_summary(pictures: int, failed: int, emotions: Counter[str]) -> None:
    faces = emotions.total()
    print(f"\n{pictures - failed} of {pictures} pictures read, {faces} faces")
    for name, number in emotions.items():
        share = number / max(faces, 1)
        print(f"  {name:<9} {number:6}  {share:6.1%}  {'█' * round(30 * share)}")


def _annotated_files(images: Sequence[Path], folder: Path | None) -> Sequence[Path | None]:
    """A new file for every picture, numbered if the name is taken, and never one of them."""
    if folder is None:
        return [None] * len(images)
    folder.mkdir(parents=True, exist_ok=True)
    taken = {image.resolve() for image in images}
    targets = []
    for image in images:
        names = (f"{image.stem}{f'-{n}' if n else ''}{_ANNOTATED}" for n in count())
        free = (folder / name for name in names if (folder / name).resolve() not in taken)
        targets.append(next(free))
        taken.add(targets[-1].resolve())
    return targets
