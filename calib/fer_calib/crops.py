"""Crops as a core sees them: the runtime's tensors, normalised as the graph of an artifact does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fer_edge.artifacts.spec import ModelSpec
from fer_edge.errors import DataError

Probabilities: TypeAlias = npt.NDArray[np.floating]

_PIXELS = 32 * 48 * 48


@dataclass(frozen=True, eq=False)
class Crops:
    """Tensors for one model, with labels where they are known.

    ``tensors`` is uint8 ``(N, H, W, C)`` as ``fer_edge.images.preprocess`` makes it, ``labels``
    is int64 ``(N,)``, and ``source`` says where they came from. Raises DataError for an empty set
    and for crops that do not fit the model.
    """

    tensors: npt.NDArray[np.uint8]
    spec: ModelSpec
    labels: npt.NDArray[np.int64] | None = None
    source: str = "crops"

    def __post_init__(self) -> None:
        shape = self.spec.input.shape
        if self.tensors.dtype != np.uint8 or self.tensors.shape[1:] != shape:
            raise DataError(
                f"expected crops as uint8 (N, {', '.join(map(str, shape))}), not "
                f"{self.tensors.dtype} {self.tensors.shape}; convert them with preprocess_all"
            )
        if not len(self.tensors):
            raise DataError("there are no crops to calibrate or measure on")
        if self.labels is not None and self.labels.shape != self.tensors.shape[:1]:
            raise DataError(f"{len(self.tensors)} crops came with {len(self.labels)} labels")

    def __len__(self) -> int:
        return len(self.tensors)

    def batches(self) -> Iterator[npt.NDArray[np.float32]]:
        """Yield float32 ``(n, C, H, W)``, normalised by the spec; n is ``batch_size`` at most."""
        mean = np.array(self.spec.input.mean, np.float32).reshape(1, -1, 1, 1) * 255
        std = np.array(self.spec.input.std, np.float32).reshape(1, -1, 1, 1) * 255
        scale = (1 / std).astype(np.float32)
        size = batch_size(*self.tensors.shape[1:3])
        for start in range(0, len(self), size):
            planes = self.tensors[start : start + size].transpose(0, 3, 1, 2).astype(np.float32)
            yield np.ascontiguousarray((planes - mean) * scale)

    def thin(self, count: int) -> Crops:
        """Take at most ``count`` crops, evenly spread over the set."""
        if len(self) <= count:
            return self
        chosen = np.linspace(0, len(self) - 1, count).round().astype(np.int64)
        labels = None if self.labels is None else self.labels[chosen]
        return Crops(self.tensors[chosen], self.spec, labels, self.source)

    def accuracy_drop(self, expected: Probabilities, given: Probabilities) -> float | None:
        """The accuracy of ``expected`` minus that of ``given``; None without labels."""
        if self.labels is None:
            return None
        right = [float((p.argmax(axis=1) == self.labels).mean()) for p in (expected, given)]
        return right[0] - right[1]


def batch_size(height: int, width: int) -> int:
    """How many crops to run at once: 32 of 48 x 48 pixels, fewer of larger ones.

    A network's tensors need memory in proportion to the area of a picture.
    """
    return max(1, _PIXELS // (height * width))
