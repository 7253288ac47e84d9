"""Videos made from the portraits that installed packages carry: faces on known ways."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

__all__ = ["Walk", "crossing", "portraits", "scene", "walk_frames", "write_video"]

Image = npt.NDArray[np.uint8]
Walk = Callable[[float], "tuple[float, float] | None"]
"""The upper left corner of a portrait at a time in seconds; None while it is away."""


def portraits(side: int = 160) -> list[Image]:
    """Two heads, of scikit-image's astronaut and of matplotlib's portrait; skips without them."""
    one = cv2.imread(str(_packaged("skimage", "data/astronaut.png")))[20:236, 112:328]
    sample = _packaged("matplotlib", "mpl-data/sample_data/grace_hopper.jpg")
    two = cv2.imread(str(sample))[50:450, 70:470]
    return [
        np.asarray(cv2.resize(head, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
        for head in (one, two)
    ]


def _packaged(package: str, file: str) -> Path:
    """A file of a package that need not be imported, which takes long."""
    spec = find_spec(package)
    path = Path(spec.origin or "").parent / file if spec else None
    if path is None or not path.is_file():
        pytest.skip(f"no {package}, whose portrait is used")
    return path


def scene(
    heads: Sequence[Image], walks: Sequence[Walk], time: float, size: tuple[int, int]
) -> Image:
    """One frame of ``size`` (width, height); later heads are in front."""
    width, height = size
    frame = np.full((height, width, 3), (120, 110, 100), np.uint8)
    for head, walk in zip(heads, walks, strict=True):
        place = walk(time)
        if place is None:
            continue
        shift = np.array([[1, 0, place[0]], [0, 1, place[1]]], np.float32)
        options = {"dst": frame, "borderMode": cv2.BORDER_TRANSPARENT}
        cv2.warpAffine(head, shift, size, **options)
    return frame


def walk_frames(
    heads: Sequence[Image],
    walks: Sequence[Walk],
    times: Iterable[float],
    size: tuple[int, int] = (640, 360),
) -> Iterator[tuple[Image, float]]:
    """Frames with their times, as ``FaceAnalyzer.track`` takes them."""
    for time in times:
        yield scene(heads, walks, time, size), time


def crossing(
    fps: float, seconds: float = 4.0, size: tuple[int, int] = (480, 270)
) -> list[tuple[Image, float]]:
    """Frames in which two heads change sides, one passing in front of the other."""
    walks: list[Walk] = [lambda t: (10 + 80 * t, 60), lambda t: (340 - 80 * t, 80)]
    times = [number / fps for number in range(round(fps * seconds))]
    return list(walk_frames(portraits(130), walks, times, size))


def write_video(path: Path, frames: Iterable[Image], fps: float, *options: str) -> Path:
    """Write frames through ffmpeg, with H.264 and further options of the output."""
    first, *rest = frames
    height, width = first.shape[:2]
    command = ["ffmpeg", "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "bgr24"]
    command += ["-s", f"{width}x{height}", "-r", str(fps), "-i", "pipe:0", "-pix_fmt", "yuv420p"]
    command += ["-c:v", "libx264", "-preset", "ultrafast", *options, str(path)]
    data = b"".join(frame.tobytes() for frame in (first, *rest))
    subprocess.run(command, input=data, check=True)
    return path
