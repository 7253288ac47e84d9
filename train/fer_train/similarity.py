"""Pictures that are nearly the same: a perceptual hash of 64 bits.

The hash is that of the low frequencies of a discrete cosine transform, each bit telling whether a
coefficient is above their median (Zauner, "Implementation and Benchmarking of Perceptual Image
Hash Functions", 2010, section 3.2.1). Another size, compression or brightness changes few bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
import numpy.typing as npt

MOST_BITS = 4
"""Bits that may differ between two pictures that count as nearly the same."""

_SIDE, _LOW = 32, 8
_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1)


def perceptual_hash(image: npt.NDArray[np.uint8]) -> np.uint64:
    """Hash a picture, uint8 ``(H, W)`` gray or ``(H, W, 3)`` BGR."""
    gray = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)  # noqa: PLR2004
    small = cv2.resize(gray, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    low = cv2.dct(small.astype(np.float32))[:_LOW, :_LOW].ravel()
    bits = low > np.median(low[1:])  # the first is the mean brightness
    return np.uint64(np.packbits(bits).view(">u8")[0])


def near_copies(
    images: Iterable[npt.NDArray[np.uint8]], others: Iterable[npt.NDArray[np.uint8]]
) -> npt.NDArray[np.bool_]:
    """Tell which of ``images`` have another among ``others`` that is nearly the same, ``(N,)``."""
    return near_hashes([*map(perceptual_hash, images)], [*map(perceptual_hash, others)])


def near_hashes(ours: Sequence[np.uint64], theirs: Sequence[np.uint64]) -> npt.NDArray[np.bool_]:
    """Tell which of these hashes another one is near to, bool ``(N,)``."""
    near, known = np.zeros(len(ours), np.bool_), np.array(theirs, np.uint64)
    for place, value in enumerate(np.array(ours, np.uint64)):
        # numpy counts bits itself from 2.0 on
        differing = _BITS[(known ^ value).view(np.uint8)].reshape(-1, 8).sum(axis=1)
        near[place] = bool((differing <= MOST_BITS).any())
    return near
