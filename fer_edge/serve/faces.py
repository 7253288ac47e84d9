"""From a picture's bytes to its faces: decoded and searched in threads, classified in batches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_edge.errors import InputError
from fer_edge.faces.detection import FaceDetector, cut_face
from fer_edge.images.header import picture_size
from fer_edge.images.reading import decode_image
from fer_edge.prediction import Prediction
from fer_edge.predictor import Predictor
from fer_edge.serve.batcher import Batcher

SIDES = (320, 640, 1280)
"""Longest sides of the copy in which faces are searched, that a client may ask for."""

_STAGES = ("wait", "decode", "detect", "classify")

Image = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Findings:
    """The faces of one picture, the largest first, and how long each stage took, in ms."""

    boxes: Sequence[Box]
    predictions: Sequence[Prediction]
    searched: tuple[int, int]
    timings_ms: dict[str, float]

    def faces(self) -> list[dict[str, Any]]:
        """Plain data for JSON, as ``fer-edge predict`` gives it."""
        faces = []
        for box, prediction in zip(self.boxes, self.predictions, strict=True):
            values = prediction.to_dict()
            del values["uncertain"]
            faces.append({"box": list(box), **values})
        return faces

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, as the WebSocket gives it."""
        return {
            "faces": self.faces(),
            "searched": list(self.searched),
            "timings_ms": self.timings_ms,
        }


class FaceService:
    """One model for many clients. Predictor and pool stay the caller's.

    Each picture is decoded and searched in a thread of ``pool``, first come, first served. The
    crops that are ready are classified together, in one call of the engine.
    """

    def __init__(self, predictor: Predictor, pool: ThreadPoolExecutor) -> None:
        self.predictor = predictor
        self._pool = pool
        self._detectors = {side: FaceDetector(max_side=side) for side in SIDES}
        self._batcher = Batcher(predictor.predict_batch, predictor.info.max_batch)

    async def analyze(self, data: bytes, side: int, max_pixels: int) -> Findings:
        """Find and classify the faces of a JPEG, PNG, WebP, BMP or TIFF file.

        ``side`` is one of ``SIDES``. Raises InputError if ``data`` is no picture, or if its header
        gives more than ``max_pixels`` pixels; such a picture is not decoded.
        """

        def decode() -> Image:
            size = picture_size(data, "the body")
            if size.width * size.height > max_pixels:
                raise TooManyPixelsError(
                    f"the picture has {size.width} x {size.height} pixels; up to {max_pixels:,} "
                    "are taken here. Scale it down"
                )
            return decode_image(data, "the body")

        return await self._analyze(decode, side)

    async def analyze_frame(self, frame: Image, side: int) -> Findings:
        """Find and classify the faces of a frame, uint8 ``(H, W)`` gray or ``(H, W, 3)`` BGR."""
        return await self._analyze(lambda: frame, side)

    async def close(self) -> None:
        """Stop the batcher; calls under way are cancelled."""
        await self._batcher.close()

    async def _analyze(self, decode: Callable[[], Image], side: int) -> Findings:
        asked = time.perf_counter()
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._pool, self._find, decode, side)
        predictions = await self._batcher.submit(found.crops) if found.crops else []
        done = time.perf_counter()
        times = (asked, *found.times, done)
        stages = zip(_STAGES, pairwise(times), strict=True)
        timings = {name: 1e3 * (end - start) for name, (start, end) in stages}
        return Findings(found.boxes, predictions, found.searched, timings)

    def _find(self, decode: Callable[[], Image], side: int) -> _Found:
        began = time.perf_counter()
        image = decode()
        decoded = time.perf_counter()
        detector = self._detectors[side]
        boxes = [face.box for face in detector.detect(image)]
        spec = self.predictor.info.spec.input
        crops = [
            cut_face(image, box, margin=spec.crop_margin, square=spec.crop_square) for box in boxes
        ]
        searched = detector.searched_size(image.shape[1], image.shape[0])
        return _Found(boxes, crops, searched, (began, decoded, time.perf_counter()))


@dataclass(frozen=True)
class _Found:
    boxes: list[Box]
    crops: list[Image]
    searched: tuple[int, int]
    times: tuple[float, float, float]


class TooManyPixelsError(InputError):
    """The picture has more pixels than are allowed."""
