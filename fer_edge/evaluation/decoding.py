"""Picture files of a data set to one array.

FER2013's pictures, 48 x 48 gray, stay as they are. Others are brought to what a network takes, by
the runtime's own pre-processing, or, where no network is known yet, to one size for all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import IO, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from fer_edge.artifacts.spec import InputSpec
from fer_edge.errors import DataError, InputError
from fer_edge.evaluation.crops import SIDE, LabelledCrops, empty_pictures
from fer_edge.evaluation.layout import Entry, is_named_as_fer2013
from fer_edge.images.header import check_complete, picture_size
from fer_edge.images.pixels import check_crop
from fer_edge.images.preprocess import preprocess
from fer_edge.images.reading import MAX_BYTES, decode_image
from fer_edge.system.progress import track

ANY_SIDE = 224
"""Side of pictures of several sizes for a network that is not known yet."""

_MAX_FER2013_BYTES = 1 << 20
_GRAY = 2

Image: TypeAlias = npt.NDArray[np.uint8]


def decode_all(
    entries: Sequence[Entry],
    split: str,
    wanted: InputSpec | None,
    like: LabelledCrops | None = None,
) -> Image:
    """Decode pictures to uint8 ``(N, H, W)``, gray, or ``(N, H, W, 3)``, BGR.

    That is ``(N, 48, 48)`` where all are FER2013's kind; else ``wanted`` in size and colour, and
    without it the pictures' own size if they share one of up to 224 pixels, 224 x 224 if not, in
    colour. With ``like`` they get its size and colour, whatever their own. Raises DataError, which
    names a picture that cannot be read.
    """
    is_small = like is None or like.images.shape[1:] == (SIDE, SIDE)
    if is_small and (small := _as_fer2013(entries, split)) is not None:
        return small
    wanted = wanted if like is None else like.input
    if wanted is None:
        height, width = _common_size(entries)
        wanted = InputSpec(height, width, "rgb", (0.5,) * 3, (0.5,) * 3)
    is_gray = wanted.channels == 1
    shape = (len(entries), wanted.height, wanted.width, *(() if is_gray else (3,)))
    images, row = empty_pictures(shape), np.empty(wanted.shape, np.uint8)
    for place, entry in enumerate(track(entries, len(entries), f"reading {split}")):
        preprocess(picture_of(entry), wanted, row)
        images[place] = row[:, :, 0] if is_gray else row[:, :, ::-1]
    return images


def picture_of(entry: Entry) -> Image:
    """One picture as it is, uint8 ``(H, W)`` or ``(H, W, 3)``, BGR, cut to its box.

    Raises DataError.
    """
    if isinstance(entry.content, np.ndarray):
        return entry.content
    try:
        image = decode_image(_bytes_of(entry.content, MAX_BYTES), entry.name)
        return check_crop(image if entry.box is None else _cut(image, entry))
    except InputError as problem:
        raise _unreadable(entry.name, problem) from problem


def _unreadable(name: str, problem: Exception) -> DataError:
    told = str(problem).removeprefix(f"{name} ")
    return DataError(f"{name} cannot be read as a picture: it {told}")


def _bytes_of(opener: Callable[[], IO[bytes]], most: int) -> bytes:
    with opener() as stream:
        return stream.read(most + 1)


def _cut(image: Image, entry: Entry) -> Image:
    x, y, width, height = entry.box or (0, 0, image.shape[1], image.shape[0])
    left, top = max(x, 0), max(y, 0)
    cut = image[top : max(y + height, 0), left : max(x + width, 0)]
    if not cut.size:
        raise InputError(
            f"its box {entry.box} lies outside of its {image.shape[1]} x {image.shape[0]} pixels"
        )
    return np.ascontiguousarray(cut)


def _as_fer2013(entries: Sequence[Entry], split: str) -> Image | None:
    """Decode pictures of FER2013's kind; None as soon as one is of another."""
    images: list[Image] = []
    for entry in track(entries, len(entries), f"reading {split}"):
        image = _decode_small(entry, beside=bool(images))
        if image is None:
            return None
        images.append(image)
    return np.stack(images)


def _decode_small(entry: Entry, *, beside: bool) -> Image | None:
    """A gray picture of 48 x 48, None for one of another kind.

    FER2013 made larger keeps its names, but not ``beside`` pictures of the right size.
    """
    if isinstance(entry.content, np.ndarray):
        return entry.content
    if entry.box:
        return None
    name, is_named = entry.name, is_named_as_fer2013(entry)
    data = _bytes_of(entry.content, _MAX_FER2013_BYTES)
    if len(data) > _MAX_FER2013_BYTES:
        if is_named:
            raise DataError(f"{name} holds far more than a {SIDE} x {SIDE} picture")
        return None
    try:
        # the size before decoding: a small file may claim to be a huge picture
        width, height = picture_size(data, name)
        if (width, height) != (SIDE, SIDE):
            if is_named and beside:
                raise DataError(f"{name} has {width} x {height} pixels instead of {SIDE} x {SIDE}")
            return None
        check_complete(data, name)
        flag = cv2.IMREAD_GRAYSCALE if is_named else cv2.IMREAD_UNCHANGED
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    except (InputError, cv2.error) as problem:
        raise _unreadable(name, problem) from problem
    if image is None:
        raise DataError(f"{name} cannot be read as a picture; download the archive again")
    return np.asarray(image) if image.ndim == _GRAY and image.dtype == np.uint8 else None


def _common_size(entries: Sequence[Entry]) -> tuple[int, int]:
    sizes = set()
    for entry in track(entries, len(entries), "looking at sizes"):
        if entry.box is not None or isinstance(entry.content, np.ndarray):
            return ANY_SIDE, ANY_SIDE
        try:
            width, height = picture_size(_bytes_of(entry.content, MAX_BYTES), entry.name)
        except InputError as problem:
            raise _unreadable(entry.name, problem) from problem
        sizes.add((height, width))
        if len(sizes) > 1 or max(height, width) > ANY_SIDE:
            return ANY_SIDE, ANY_SIDE
    return next(iter(sizes))
