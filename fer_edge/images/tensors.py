"""From a caller's crops to the rows of the batch that an engine takes."""

from __future__ import annotations

import os
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fer_edge.artifacts.spec import InputSpec
from fer_edge.errors import InputError
from fer_edge.images.pixels import check_crop
from fer_edge.images.preprocess import preprocess
from fer_edge.images.reading import read_image

Crop: TypeAlias = "npt.NDArray[np.uint8] | str | os.PathLike[str]"
"""A face, cut out: pixels, or the path of a picture."""


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
