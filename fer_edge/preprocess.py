"""From a face crop to the uint8 tensor that every artifact takes. Written once, described in the
spec, used by the runtime, calibration and measurement alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fer_edge.errors import InputError
from fer_edge.spec import InputSpec

__all__ = ["COLORS", "MIN_SIDE", "check_crop", "preprocess", "preprocess_all"]

UInt8Array = npt.NDArray[np.uint8]

COLORS = ("bgr", "rgb")
"""Orders of the channels that a caller's colour crops may have."""

MIN_SIDE = 8
"""Crops with a shorter side are refused: no expression is left in them."""

_GRAY_DIMENSIONS, _COLOR_DIMENSIONS, _COLOR_CHANNELS = 2, 3, 3


def check_crop(crop: Any, index: int | None = None) -> UInt8Array:
    """Return ``crop`` if it is uint8 ``(H, W)``, ``(H, W, 1)`` or ``(H, W, 3)``.

    Raises InputError with what was expected and what came; ``index`` is the position in a batch.
    """
    if not isinstance(crop, np.ndarray):
        raise InputError(
            f"expected a numpy array or a path, not {type(crop).__name__}", index=index
        )
    if crop.dtype != np.uint8:
        hint = ""
        if crop.dtype.kind == "f":
            holds_nan = not np.isfinite(crop).all()
            hint = "; it holds NaN or Inf" if holds_nan else "; scale to 0..255 and convert it"
        raise InputError(f"expected uint8 pixels, not {crop.dtype}{hint}", index=index)
    is_gray = crop.ndim == _GRAY_DIMENSIONS
    if not is_gray and (crop.ndim != _COLOR_DIMENSIONS or crop.shape[2] not in (1, 3)):
        raise InputError(
            f"expected the shape (H, W) for gray or (H, W, 3) for colour, not {crop.shape}",
            index=index,
        )
    if min(crop.shape[:2]) < MIN_SIDE:
        raise InputError(
            f"expected a crop of at least {MIN_SIDE} x {MIN_SIDE} pixels, not of height "
            f"{crop.shape[0]} and width {crop.shape[1]}",
            index=index,
        )
    return crop


def preprocess(crop: UInt8Array, spec: InputSpec, out: UInt8Array, color: str = "bgr") -> None:
    """Convert one checked crop to the spec's colour and size, into ``out``.

    ``crop`` is uint8 ``(H, W)``, ``(H, W, 1)`` or ``(H, W, 3)`` in the order ``color``; ``out`` is
    a C-contiguous uint8 ``(spec.height, spec.width, spec.channels)``, usually a row of the batch.
    """
    if crop.ndim == _COLOR_DIMENSIONS and crop.shape[2] == 1:
        crop = crop[:, :, 0]
    converted = _convert(crop, spec.color, color)
    target = out[:, :, 0] if spec.color == "gray" else out
    if converted.shape[:2] == (spec.height, spec.width):
        np.copyto(target, converted)
        return
    cv2.resize(
        converted,
        (spec.width, spec.height),
        dst=target,
        interpolation=_interpolation(converted.shape, spec),
    )


def preprocess_all(crops: Iterable[UInt8Array], spec: InputSpec) -> UInt8Array:
    """Convert checked crops, gray or BGR, into one uint8 array ``(N, H, W, C)``."""
    rows = []
    for crop in crops:
        rows.append(np.empty(spec.shape, np.uint8))
        preprocess(crop, spec, rows[-1])
    return np.stack(rows) if rows else np.empty((0, *spec.shape), np.uint8)


def _convert(crop: UInt8Array, wanted: str, color: str) -> UInt8Array:
    """To gray ``(H, W)`` or RGB ``(H, W, 3)``; gray is BT.601, in OpenCV's fixed point."""
    if crop.ndim == _GRAY_DIMENSIONS:
        return crop if wanted == "gray" else np.asarray(cv2.cvtColor(crop, cv2.COLOR_GRAY2RGB))
    if wanted == "gray":
        code = cv2.COLOR_BGR2GRAY if color == "bgr" else cv2.COLOR_RGB2GRAY
        return np.asarray(cv2.cvtColor(crop, code))
    return np.asarray(cv2.cvtColor(crop, cv2.COLOR_BGR2RGB)) if color == "bgr" else crop


def _interpolation(shape: tuple[int, ...], spec: InputSpec) -> int:
    shrinks = shape[0] >= spec.height and shape[1] >= spec.width
    return cv2.INTER_AREA if spec.interpolation == "area" and shrinks else cv2.INTER_LINEAR
