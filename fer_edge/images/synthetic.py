"""Drawn faces, for places where no data set may be used."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

_SIDE = 96
_BLUR = (3, 3)


def synthetic_crops(count: int, seed: int = 0) -> list[npt.NDArray[np.uint8]]:
    """Draw ``count`` faces: an oval, eyes, brows and a mouth of random shape, light and noise.

    Each is uint8 ``(96, 96, 3)``, BGR. The same seed gives the same drawings with the same
    version of OpenCV.
    """
    rng = np.random.default_rng(seed)
    return [_draw(rng) for _ in range(count)]


def _draw(rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    background, skin, dark = (
        rng.integers(0, 256, 3),
        rng.integers(60, 240, 3),
        rng.integers(0, 60, 3),
    )
    canvas = np.full((_SIDE, _SIDE, 3), background, np.uint8)
    centre = (_SIDE // 2 + int(rng.integers(-4, 5)), _SIDE // 2 + int(rng.integers(-4, 5)))
    skin_color, dark_color = _color(skin), _color(dark)
    cv2.ellipse(canvas, centre, (34, 44), float(rng.uniform(-10, 10)), 0, 360, skin_color, -1)
    eye_height, brow_tilt = int(rng.integers(2, 7)), int(rng.integers(-5, 6))
    for side in (-1, 1):
        eye = (centre[0] + side * 14, centre[1] - 12)
        cv2.ellipse(canvas, eye, (6, eye_height), 0, 0, 360, dark_color, -1)
        outer = (eye[0] + side * 8, eye[1] - 10 + brow_tilt)
        inner = (eye[0] - side * 8, eye[1] - 10 - brow_tilt)
        cv2.line(canvas, inner, outer, dark_color, 2)
    mouth, opening = (centre[0], centre[1] + 22), int(rng.integers(1, 12))
    smiling = bool(rng.integers(0, 2))
    start, end = (0, 180) if smiling else (180, 360)
    cv2.ellipse(canvas, mouth, (14, opening), 0, start, end, dark_color, int(rng.integers(1, 4)))
    light = np.linspace(rng.uniform(0.6, 1.2), rng.uniform(0.6, 1.2), _SIDE)[None, :, None]
    noise = rng.normal(0, rng.uniform(1, 12), canvas.shape)
    lit = np.clip(canvas * light + noise, 0, 255).astype(np.uint8)
    return np.asarray(cv2.GaussianBlur(lit, _BLUR, 0), np.uint8)


def _color(values: npt.NDArray[np.int64]) -> tuple[int, int, int]:
    blue, green, red = (int(value) for value in values)
    return blue, green, red
