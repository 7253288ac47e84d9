"""A picture from an untrusted file to pixels.

JPEG, PNG, WebP, BMP and TIFF, decoded by OpenCV to 8-bit blue, green, red:

- The rotation in EXIF is applied (all eight orientations), so that the picture stands as a viewer
  shows it. For JPEG, PNG and WebP it is read and applied here: OpenCV's own reader depends on its
  release (4.11 and 4.12 miss EXIF behind XMP in JPEG, and all EXIF in WebP).
- Gray becomes three equal channels. Transparency is dropped, not blended: a pixel keeps the
  colour that is stored under its alpha. A palette is looked up.
- 16 bits become 8 by what they hold: a picture whose values end below 256, 1,024, 4,096 or 16,384
  has 8, 10, 12 or 14 bits of depth in truth, and its lower bits would be all that there is.
- CMYK and YCCK JPEGs are taken as Adobe writes them, inverted (255 is no ink), whether they
  say so or not, and become ``channel * black / 255``; ICC profiles and PNG's gamma are ignored.
- Of an animation the first frame is read, of a TIFF the first page.

Size and completeness are checked before anything is decoded, so a truncated file is an error here
and not a picture with a gray rest. Damage within a JPEG's compressed data cannot be detected:
OpenCV decodes it, and libjpeg complains on stderr. libpng and OpenCV write there, too. Only
settings of the whole process would silence them, and those are not a library's to change.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from fer_edge.errors import InputError
from fer_edge.images.header import PictureSize, check_complete, orientation, picture_size
from fer_edge.system.read_file import as_address, read_file

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff")
"""Suffixes of these formats, in lower case. The reader itself looks at the bytes alone."""

MAX_PIXELS = 100_000_000
"""Width times height that is still decoded; 300 MB of pixels."""

MAX_SIDE = 65_500
"""Longest side in pixels that is still decoded; the limit of JPEG's reference library."""

MAX_BYTES = 256 << 20
"""Size of a file that is still read."""

Image: TypeAlias = npt.NDArray[np.uint8]

_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION | cv2.IMREAD_ANYDEPTH
_DEPTHS = (8, 10, 12, 14, 16)
"""Bits of a pixel that a picture stored with 16 may have in truth."""
_UPRIGHT: dict[int, Callable[[Image], Image]] = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: image[::-1].swapaxes(0, 1),
    7: lambda image: image[::-1, ::-1].swapaxes(0, 1),
    8: lambda image: image[:, ::-1].swapaxes(0, 1),
}


def read_image(path: str | os.PathLike[str]) -> Image:
    """Read a picture file; uint8 ``(H, W, 3)``, BGR, EXIF rotation applied.

    Symbolic links are followed. Raises InputError for an address, a path that is missing or may not
    be read, a folder, pipe or device (none of them is read), a file of more than ``MAX_BYTES``,
    and for whatever ``decode_image`` refuses.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise InputError(
            f"expected the path of a picture, not {type(path).__name__}; its pixels are given to "
            "predict and analyze as a numpy array"
        )
    where = os.fspath(path)
    if address := as_address(where):
        raise InputError(
            f"{address!r:.100} is an address; download the picture, or decode a data URL, and give "
            "the path of its file. FaceAnalyzer.track opens the addresses of cameras and videos"
        )
    return decode_image(read_file(where, "picture", MAX_BYTES, InputError), where)


def decode_image(data: bytes, where: str) -> Image:
    """Decode a picture file's bytes; uint8 ``(H, W, 3)``, BGR, EXIF rotation applied.

    ``where`` names the source in messages. Raises InputError for more than ``MAX_BYTES`` bytes or
    none, anything but a JPEG, PNG, WebP, BMP or TIFF, a picture of more than ``MAX_PIXELS`` pixels
    or with a side over ``MAX_SIDE`` (its header says so; nothing is decoded), pixels that are no
    whole numbers of up to 16 bits, and a file that is truncated or damaged.
    """
    _check_bytes(len(data), where)
    size = picture_size(data, where)
    _check_size(size, where)
    check_complete(data, where)
    image = _decode(data, where)
    if image.shape != (size.height, size.width, 3):
        raise InputError(
            f"{where} contradicts itself: its header says {size.width} x {size.height} pixels, and "
            f"{image.shape[1]} x {image.shape[0]} were decoded. Save it anew with another program."
        )
    return np.ascontiguousarray(_UPRIGHT[orientation(data)](image))


def _check_bytes(count: int, where: str) -> None:
    if count > MAX_BYTES:
        raise InputError(
            f"{where} has {count:,} bytes; picture files of up to {MAX_BYTES:,} are read. "
            "Give a smaller or compressed picture."
        )


def _check_size(size: PictureSize, where: str) -> None:
    width, height = size
    if max(size) > MAX_SIDE or width * height > MAX_PIXELS:
        raise InputError(
            f"{where} has {width} x {height} pixels ({width * height:,}); up to {MAX_PIXELS:,} "
            f"with sides of up to {MAX_SIDE:,} are decoded. Scale it down; FaceAnalyzer finds the "
            "faces of a photo."
        )


def _decode(data: bytes, where: str) -> Image:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), _FLAGS)
        reason = "OpenCV gave no reason"
    except cv2.error as problem:
        image, reason = None, str(problem).strip().partition("\n")[0]
    if image is None:
        raise InputError(
            f"{where} cannot be decoded ({reason}): it is damaged, or of a rare variant of its "
            "format. Open it in a picture editor and save it as JPEG or PNG."
        )
    return np.asarray(image) if image.dtype == np.uint8 else _to_8_bits(image, where)


def _to_8_bits(image: npt.NDArray[Any], where: str) -> Image:
    if image.dtype != np.uint16:
        raise InputError(
            f"{where} has pixels of type {image.dtype}; expected whole numbers of 8 or 16 bits. "
            "Save it as JPEG or PNG."
        )
    return (image >> surplus_bits(int(image.max()))).astype(np.uint8)


def surplus_bits(highest: int) -> int:
    """By how many bits to shift values of up to 16 bits that end at ``highest``, to have 8."""
    return next(depth for depth in _DEPTHS if highest < 1 << depth) - 8
