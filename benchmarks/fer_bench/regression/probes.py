"""Pictures that need no data set: seeded drawings, and portraits inside installed packages.

The drawings use only whole numbers, so every machine and every release of NumPy and OpenCV draws
the same pictures, and recorded answers hold everywhere.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]
IntArray = npt.NDArray[np.int64]

RECORDED = 16
"""A baseline keeps the answers to this many probes, half of them drawings, half portraits."""

_DRAWINGS, _SEED = 64, 2013
_SIDE = 96
_ASTRONAUT = (slice(20, 210), slice(130, 320))
_LFW_FACES = 100  # the first half of the file; the second shows no faces


def probes() -> dict[str, UInt8Array]:
    """Name → crop, uint8 ``(H, W)`` or BGR ``(H, W, 3)``; the recorded ones come first.

    64 drawings; with scikit-image installed its astronaut and the 100 small faces of its LFW
    subset as well.
    """
    drawn = {f"drawing-{number:03d}": drawn_face(_SEED + number) for number in range(_DRAWINGS)}
    found = list(_portraits().items())
    half = RECORDED // 2
    first = [*list(drawn.items())[:half], *found[:half]]
    return {**dict(first), **drawn, **dict(found)}


def drawn_face(seed: int) -> UInt8Array:
    """Draw a coloured face; uint8 ``(96, 96, 3)``, BGR."""
    generator = np.random.PCG64(seed)  # its raw stream never changes, unlike Generator's methods

    def pick(low: int, high: int, count: int = 1) -> IntArray:
        raw = np.atleast_1d(np.asarray(generator.random_raw(count), np.uint64))
        return (raw >> np.uint64(11)).astype(np.int64) % (high - low) + low

    rows, columns = np.indices((_SIDE, _SIDE), np.int64)
    top, left = (_SIDE // 2 + int(pick(-4, 5)[0]) for _ in range(2))
    y, x = rows - top, columns - left
    canvas = np.broadcast_to(pick(0, 256, 3), (_SIDE, _SIDE, 3)).copy()
    canvas[_oval(y, x, 44, 34)] = pick(60, 240, 3)
    dark, eye, tilt = pick(0, 60, 3), int(pick(2, 7)[0]), int(pick(-5, 6)[0])
    curve, opening = int(pick(-9, 10)[0]), int(pick(1, 7)[0])
    for side in (-1, 1):
        canvas[_oval(y + 12, x - side * 14, eye, 6)] = dark
        brow = 8 * (y + 22) - side * tilt * (x - side * 14)
        canvas[(np.abs(brow) <= 8) & (np.abs(x - side * 14) <= 8)] = dark  # noqa: PLR2004
    mouth = 196 * (y - 22) + curve * (x**2 - 98)
    canvas[(np.abs(mouth) <= 98 * opening) & (np.abs(x) <= 14)] = dark  # noqa: PLR2004
    start, end = (int(value) for value in pick(60, 121, 2))
    light = (start * (_SIDE - 1 - columns) + end * columns) // (_SIDE - 1)
    strength = int(pick(1, 20)[0])
    noise = pick(-strength, strength + 1, canvas.size).reshape(canvas.shape)
    return np.clip(canvas * light[:, :, None] // 100 + noise, 0, 255).astype(np.uint8)


def _oval(y: IntArray, x: IntArray, height: int, width: int) -> npt.NDArray[np.bool_]:
    return np.asarray((y * width) ** 2 + (x * height) ** 2 <= (height * width) ** 2, np.bool_)


def _portraits() -> dict[str, UInt8Array]:
    found = importlib.util.find_spec("skimage")
    if found is None or found.origin is None:
        return {}
    folder = Path(found.origin).parent / "data"
    crops: dict[str, UInt8Array] = {}
    photo = cv2.imread(str(folder / "astronaut.png"))
    if photo is not None:
        crops["astronaut"] = np.ascontiguousarray(photo[_ASTRONAUT], np.uint8)
    faces = folder / "lfw_subset.npy"
    if faces.is_file():
        stored = np.load(faces, allow_pickle=False)[:_LFW_FACES]
        shades = np.rint(stored * 255).clip(0, 255).astype(np.uint8)
        crops.update({f"lfw-{number:03d}": face for number, face in enumerate(shades)})
    return crops
