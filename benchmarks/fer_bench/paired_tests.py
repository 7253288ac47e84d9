"""Two models on the same pictures, and masks of right answers as text."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fer_edge.evaluation.agreement import PairedDifference, paired_difference

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class PairedTest(PairedDifference):
    """The difference of the models that are called ``first`` and ``second``."""

    first: str
    second: str


def paired_test(first: str, second: str, right: Bools, other: Bools) -> PairedTest:
    """Compare the masks of right answers, bool ``(N,)``, of two models on the same pictures."""
    return PairedTest(**vars(paired_difference(right, other)), first=first, second=second)


def pack_mask(mask: Bools) -> str:
    """A mask as base64: eight pictures per byte, the first in the highest bit."""
    return base64.b64encode(np.packbits(mask).tobytes()).decode()


def unpack_mask(text: str, n: int) -> Bools:
    """A mask of ``n`` pictures from its text. Raises ValueError for a text of another length."""
    packed = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    if len(packed) != -(-n // 8):
        raise ValueError(f"{len(packed)} bytes do not hold {n} answers")
    return np.unpackbits(packed, count=n).astype(bool)
