"""Pixels that a caller hands over: what is accepted, and what to do about anything else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_edge.errors import InputError
from fer_edge.images.reading import MAX_PIXELS, surplus_bits

MIN_SIDE = 8
"""Crops with a shorter side are refused: no expression is left in them."""

_UINT8 = np.dtype(np.uint8)
_GRAY_AXES, _COLOR_AXES, _BATCH_AXES = 2, 3, 4
_LUMA_AND_MORE, _RGB, _RGBA = 2, 3, 4
_MOST_OF_8_BITS = 255
_OVERSHOOT = 0.5
"""How far floats of 0 to 1 may leave that range by resizing or rounding."""
_FOREIGN = {
    "PIL": "give np.asarray(image.convert('RGB'))[:, :, ::-1], which is blue, green, red, "
    "or without the last part where color='rgb' was asked for",
    "torch": "give tensor.cpu().numpy(), uint8 (H, W) or (H, W, 3)",
    "cupy": "give array.get(), uint8 (H, W) or (H, W, 3)",
    "cv2": "give the array that it holds: UMat.get(), or what VideoCapture.read() gives second",
}
"""How pictures of other packages become arrays."""
_DECODE = "cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)"
_PIXELS = "give uint8 (H, W) or (H, W, 3), as cv2.imread does"
_SEVERAL = "give several crops to predict_batch, and frames one by one"


def check_crop(crop: Any, index: int | None = None) -> npt.NDArray[np.uint8]:
    """Return ``crop`` if it is uint8 ``(H, W)``, ``(H, W, 1)`` or ``(H, W, 3)``.

    Its sides are at least ``MIN_SIDE``, and it has no more pixels than a picture may have. Raises
    InputError with what was expected, what came and what to do; ``index`` is its position in a
    batch.
    """
    if complaint := _complaint(crop, MIN_SIDE):
        raise InputError(complaint, index=index)
    return crop  # type: ignore[no-any-return]


def check_frame(frame: Any) -> npt.NDArray[np.uint8]:
    """Return a whole picture as uint8 ``(H, W)`` or ``(H, W, 3)``; ``(H, W, 1)`` loses its axis.

    It has at least one pixel. Raises InputError as ``check_crop`` does.
    """
    if complaint := _complaint(frame, 1):
        raise InputError(complaint)
    pixels: npt.NDArray[np.uint8] = frame
    return pixels[:, :, 0] if pixels.shape[2:] == (1,) else pixels


def is_one_picture(shape: tuple[int, ...]) -> bool:
    """Whether an array of this shape is one picture and not several, which would be too narrow."""
    return len(shape) == _GRAY_AXES or (len(shape) == _COLOR_AXES and 0 < shape[2] < MIN_SIDE)


def _complaint(value: Any, least: int) -> str:
    """What is wrong with pixels, and what to do about it; empty where nothing is."""
    if not isinstance(value, np.ndarray):
        return f"expected pixels in a numpy array, not {other_kind(value, _PIXELS)}"
    if value.dtype != _UINT8:
        return f"expected uint8 pixels, not {value.dtype}; {_conversion(value)}"
    if value.ndim != _GRAY_AXES and value.shape[2:] not in ((1,), (3,)):
        return (
            f"expected the shape (H, W) for gray or (H, W, 3) for colour, not {value.shape}"
            f"{_shape_advice(value.shape)}"
        )
    height, width = value.shape[:2]
    if min(height, width) < least:
        empty = "; it is empty: was its box outside of the picture?" if not value.size else ""
        return (
            f"expected at least {least} x {least} pixels, not height {height} and width {width}"
            f"{empty}"
        )
    if height * width > MAX_PIXELS:
        return (
            f"expected up to {MAX_PIXELS:,} pixels, not the shape {value.shape}; scale it down, or "
            "let FaceAnalyzer find the faces in a smaller copy"
        )
    return ""


def other_kind(value: Any, otherwise: str = "") -> str:
    """What came in place of an array, and what to do about it; ``otherwise`` if nothing special."""
    kind, package = type(value).__name__, type(value).__module__.partition(".")[0]
    advice = otherwise
    if value is None:
        kind, advice = (
            "None",
            "cv2.imread gives None for a file that it cannot read: check its path",
        )
    elif package in _FOREIGN:
        kind, advice = f"{package}.{kind}", _FOREIGN[package]
    elif isinstance(value, (str, os.PathLike)):
        kind = f"the path {os.fspath(value)!r:.200}"
        advice = "read it first: fer_edge.read_image(path)"
    elif isinstance(value, (bytes, bytearray, memoryview)):
        advice = f"decode the file's bytes first: {_DECODE}"
    elif hasattr(value, "read"):
        advice = f"give its path, or data = file.read() and then {_DECODE}"
    elif isinstance(value, Iterator) or (
        isinstance(value, (list, tuple)) and value and all(map(_is_picture, value))
    ):
        advice = _SEVERAL
    elif isinstance(value, tuple) and any(isinstance(item, np.ndarray) for item in value):
        advice = "give the array in it alone: VideoCapture.read() gives (ok, frame)"
    elif isinstance(value, tuple) and value and value[0] is False:
        advice = "VideoCapture.read() gives (False, None) at the end, or where nothing is read"
    elif isinstance(value, (list, tuple)):
        advice = "give np.asarray(pixels, np.uint8)"
    elif isinstance(value, np.ndarray):
        kind = f"{value.dtype} of shape {value.shape}"
        advice = _shape_advice(value.shape).removeprefix("; ")
    elif hasattr(value, "__array__"):
        advice = "give np.asarray of it, uint8 (H, W) or (H, W, 3)"
    return f"{kind}; {advice}" if advice else kind


def _is_picture(value: object) -> bool:
    return isinstance(value, (np.ndarray, str, os.PathLike))


def _conversion(value: npt.NDArray[Any]) -> str:
    """How pixels of another type become uint8."""
    if value.dtype.kind not in "fiub" or not value.size:
        return "convert it to 0..255 with astype(np.uint8)"
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        return "it holds NaN or Inf: replace them with np.nan_to_num, or find where they come from"
    low, high = value.min(), value.max()
    floats = value.dtype.kind == "f"
    if value.dtype.kind == "b" or (floats and 0 <= low <= high <= 1):
        return "its values are 0 to 1: convert it with (pixels * 255).astype(np.uint8)"
    if floats and -_OVERSHOOT < low <= high < 1 + _OVERSHOOT:
        about, pixels = f"about 0 to 1, {low:g} to {high:g}", "(pixels.clip(0, 1) * 255)"
    elif 0 <= low <= high <= _MOST_OF_8_BITS:
        about, pixels = "0 to 255 already", "pixels"
    elif value.dtype == np.uint16:
        about, pixels = f"up to {high}", f"(pixels >> {surplus_bits(int(high))})"
    else:
        return f"its values are {low:g} to {high:g}: scale it to 0..255, then astype(np.uint8)"
    return f"its values are {about}: convert it with {pixels}.astype(np.uint8)"


def _shape_advice(shape: tuple[int, ...]) -> str:
    if len(shape) == _COLOR_AXES and shape[2] == _RGBA:
        return "; drop the fourth channel with cv2.cvtColor(pixels, cv2.COLOR_BGRA2BGR)"
    if len(shape) == _COLOR_AXES and shape[2] == _LUMA_AND_MORE:
        return "; its first channel is a gray picture: give pixels[:, :, 0]"
    if len(shape) == _COLOR_AXES and shape[0] in (1, _RGB):
        return "; its channels come first: give pixels.transpose(1, 2, 0)"
    if len(shape) == _BATCH_AXES:
        return f"; {_SEVERAL}"
    if len(shape) == 1:
        return f"; if it holds a picture file, decode it first: {_DECODE}"
    return ""
