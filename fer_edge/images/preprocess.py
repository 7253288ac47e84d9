"""From a face crop to the uint8 tensor that every artifact takes.

``InputSpec`` describes it. The runtime, calibration and measurements all use this code.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from fer_edge.artifacts.spec import InputSpec
from fer_edge.errors import InputError
from fer_edge.images.pixels import check_crop
from fer_edge.images.reading import read_image

UInt8Array = npt.NDArray[np.uint8]

Crop: TypeAlias = "npt.NDArray[np.uint8] | str | os.PathLike[str]"
"""A face, cut out: pixels, or the path of a picture."""

COLORS = ("bgr", "rgb")
"""Orders of the channels that a caller's colour crops may have."""

_GRAY_DIMENSIONS, _COLOR_DIMENSIONS = 2, 3
_TO_GRAY = {"bgr": cv2.COLOR_BGR2GRAY, "rgb": cv2.COLOR_RGB2GRAY}  # BT.601 in fixed point
_REACH = 2
"""Source pixels that one bilinear sample reads, in each direction."""
_HALVED_FROM = 3
"""Crops of at least this many times the new size are halved first.

With 2 instead, crops of little more than twice the new size would lose accuracy
(tests/fer_edge/images/test_resizing_accuracy.py measures it).
"""


def preprocess(crop: UInt8Array, spec: InputSpec, out: UInt8Array, color: str = "bgr") -> None:
    """Convert one checked crop to the spec's colour and size, into ``out``.

    ``crop`` is uint8 ``(H, W)``, ``(H, W, 1)`` or ``(H, W, 3)`` in the order ``color``; ``out`` is
    a C-contiguous uint8 ``(spec.height, spec.width, spec.channels)``, usually a row of the batch.
    """
    if crop.ndim == _COLOR_DIMENSIONS and crop.shape[2] == 1:
        crop = crop[:, :, 0]
    is_gray = crop.ndim == _GRAY_DIMENSIONS
    if spec.color == "gray":
        target = out[:, :, 0]
        if is_gray:
            _resize(crop, spec, target)
        elif crop.shape[:2] == target.shape:
            cv2.cvtColor(crop, _TO_GRAY[color], dst=target)
        else:
            _resize(cv2.cvtColor(crop, _TO_GRAY[color]), spec, target)
    elif is_gray or color == "bgr":
        # channels are resized independently, so they can be reordered or repeated afterwards
        resized = np.empty(out.shape[:2] if is_gray else out.shape, np.uint8)
        _resize(crop, spec, resized)
        cv2.cvtColor(resized, cv2.COLOR_GRAY2RGB if is_gray else cv2.COLOR_BGR2RGB, dst=out)
    else:
        _resize(crop, spec, out)


def preprocess_all(crops: Iterable[UInt8Array], spec: InputSpec) -> UInt8Array:
    """Convert checked crops, gray or BGR, into one uint8 array ``(N, H, W, C)``."""
    rows = []
    for crop in crops:
        rows.append(np.empty(spec.shape, np.uint8))
        preprocess(crop, spec, rows[-1])
    return np.stack(rows) if rows else np.empty((0, *spec.shape), np.uint8)


class TensorMaker:
    """Makes rows as ``spec`` says; colour arrays have their channels in the order ``color``."""

    def __init__(self, spec: InputSpec, color: str) -> None:
        self.shape = spec.shape
        self._spec, self._color = spec, color

    def rows(self, count: int, flip: bool) -> npt.NDArray[np.uint8]:
        """Room for crops, ``(N, 1, H, W, C)``, or with mirror images, ``(N, 2, H, W, C)``."""
        return np.empty((count, 2 if flip else 1, *self.shape), np.uint8)

    def fill(self, row: npt.NDArray[np.uint8], crop: Crop, index: int | None = None) -> None:
        """Convert a crop into a row, and its mirror image if the row has room for it.

        Raises InputError, with the ``index`` in the batch, for anything but a crop.
        """
        if isinstance(crop, (str, os.PathLike)):
            try:
                pixels, color = check_crop(read_image(crop)), "bgr"
            except InputError as problem:
                raise InputError(f"{problem}", index=index) from problem
        else:
            pixels, color = check_crop(crop, index), self._color
        preprocess(pixels, self._spec, row[0], color)
        if len(row) > 1:
            row[1] = row[0, :, ::-1]


def check_tensor(batch: npt.NDArray[np.uint8], shape: tuple[int, int, int]) -> None:
    """Raise InputError for anything but uint8 of one or more crops of this shape."""
    is_array = isinstance(batch, np.ndarray)
    if is_array and batch.dtype == np.uint8 and batch.shape[1:] == shape and len(batch):
        return
    came = f"{batch.dtype} {batch.shape}" if is_array else type(batch).__name__
    raise InputError(
        f"expected uint8 of shape (N, {', '.join(map(str, shape))}) with N > 0, not {came}"
    )


def _resize(image: npt.NDArray[Any], spec: InputSpec, out: UInt8Array) -> None:
    """Resize as ``InputSpec.interpolation`` says.

    OpenCV's own averaging over fractions of pixels gives nearly the same result and takes three to
    ten times as long. Over whole pixels it is fast, so it is given whole blocks.
    """
    height, width = size = spec.height, spec.width
    if image.shape[:2] == size:
        np.copyto(out, image)
        return
    if spec.interpolation == "area":
        image = _halve(image, _HALVED_FROM * height, _HALVED_FROM * width)
        rows, columns = image.shape[:2]
        down, across = -(-rows // (_REACH * height)), -(-columns // (_REACH * width))
        if down > 1 or across > 1:
            samples = cv2.resize(
                image, (across * width, down * height), interpolation=cv2.INTER_LINEAR
            )
            cv2.resize(samples, (width, height), dst=out, interpolation=cv2.INTER_AREA)
            return
    cv2.resize(image, (width, height), dst=out, interpolation=cv2.INTER_LINEAR)


def _halve(image: npt.NDArray[Any], rows: int, columns: int) -> npt.NDArray[Any]:
    """Average 2 x 2 pixels while there are that many; an odd last row or column is left out."""
    height, width = image.shape[:2]
    while height >= rows and width >= columns:
        height, width = height // 2, width // 2
        blocks = image[: 2 * height, : 2 * width]
        image = cv2.resize(blocks, (width, height), interpolation=cv2.INTER_AREA)
    return image
