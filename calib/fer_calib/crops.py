"""Crops as a core sees them: the runtime's tensors, normalised as the graph of an artifact does."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fer_edge.artifacts.spec import ModelSpec
from fer_edge.errors import DataError

__all__ = ["Crops"]

_BATCH = 16


@dataclass(frozen=True, eq=False)
class Crops:
    """Tensors for one model, with labels where they are known.

    ``tensors`` is uint8 ``(N, H, W, C)`` as ``fer_edge.images.preprocess`` gives it, ``labels``
    int64 ``(N,)``; ``source`` tells people where they came from. Raises DataError for an empty set
    and for one that does not fit the model.
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
            raise DataError("there is not a single crop to calibrate or to measure on")
        if self.labels is not None and self.labels.shape != self.tensors.shape[:1]:
            raise DataError(f"{len(self.tensors)} crops came with {len(self.labels)} labels")

    def __len__(self) -> int:
        return len(self.tensors)

    def batches(self, size: int = _BATCH) -> Iterator[npt.NDArray[np.float32]]:
        """Give float32 ``(n, C, H, W)``, normalised by the spec; the last batch may be smaller."""
        mean = np.array(self.spec.input.mean, np.float32).reshape(1, -1, 1, 1) * 255
        std = np.array(self.spec.input.std, np.float32).reshape(1, -1, 1, 1) * 255
        scale = (1 / std).astype(np.float32)
        for start in range(0, len(self), size):
            planes = self.tensors[start : start + size].transpose(0, 3, 1, 2).astype(np.float32)
            yield np.ascontiguousarray((planes - mean) * scale)

    def thin(self, count: int) -> Crops:
        """Take ``count`` of them at most, evenly from all over the set."""
        if len(self) <= count:
            return self
        return self._take(np.linspace(0, len(self) - 1, count).round().astype(np.int64))

    def without(self, positions: Collection[int]) -> Crops:
        """Leave out the crops at these positions."""
        return self._take(np.setdiff1d(np.arange(len(self)), np.array(list(positions), np.int64)))

    def _take(self, chosen: npt.NDArray[np.int64]) -> Crops:
        labels = None if self.labels is None else self.labels[chosen]
        return Crops(self.tensors[chosen], self.spec, labels, self.source)
