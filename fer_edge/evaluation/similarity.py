"""Pictures that are nearly the same: a perceptual hash of 64 bits.

The hash is that of the low frequencies of a discrete cosine transform, each bit telling whether a
coefficient is above their median (Zauner, "Implementation and Benchmarking of Perceptual Image
Hash Functions", 2010, section 3.2.1). Another size, compression or brightness changes few bits.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["MOST_BITS", "near_copies", "near_hashes", "perceptual_hash", "perceptual_hashes"]

MOST_BITS = 4
"""Bits that may differ between two pictures that count as nearly the same."""

_SIDE, _LOW = 32, 8
_CHUNK = 256


def perceptual_hashes(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """Hash pictures, uint8 ``(N, H, W)`` or ``(N, H, W, 3)`` BGR; uint64 ``(N,)``."""
    return np.array([perceptual_hash(image) for image in images], np.uint64)


def perceptual_hash(image: npt.NDArray[np.uint8]) -> np.uint64:
    """Hash one picture."""
    gray = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)  # noqa: PLR2004
    small = cv2.resize(gray, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    low = cv2.dct(small.astype(np.float32))[:_LOW, :_LOW].ravel()
    bits = low > np.median(low[1:])  # the first is the mean brightness
    return np.uint64(np.packbits(bits).view(">u8")[0])


def near_copies(
    images: npt.NDArray[np.uint8], others: npt.NDArray[np.uint8], most_bits: int = MOST_BITS
) -> npt.NDArray[np.bool_]:
    """Tell which of ``images`` have another among ``others`` that is nearly the same, ``(N,)``."""
    return near_hashes(perceptual_hashes(images), perceptual_hashes(others), most_bits)


def near_hashes(
    ours: npt.NDArray[np.uint64], theirs: npt.NDArray[np.uint64], most_bits: int = MOST_BITS
) -> npt.NDArray[np.bool_]:
    """Tell which of these hashes another one is near to, bool ``(N,)``."""
    near = np.zeros(len(ours), np.bool_)
    for start in range(0, len(ours), _CHUNK):
        part = ours[start : start + _CHUNK, None] ^ theirs[None, :]
        near[start : start + _CHUNK] = (_ones(part) <= most_bits).any(axis=1)
    return near


def _ones(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
    """Count the bits that are set; numpy has a function for it from 2.0 on."""
    counts = np.zeros(values.shape, np.uint8)
    for byte in range(8):
        counts += _BITS[((values >> np.uint64(8 * byte)) & np.uint64(255)).astype(np.uint8)]
    return counts


_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(1).astype(np.uint8)
