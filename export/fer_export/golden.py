"""Golden crops: a few drawings with the reference's answers, for a device to check itself by."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from fer_edge.artifacts.manifest import GoldenCrop
from fer_edge.artifacts.spec import InputSpec
from fer_edge.images.preprocess import preprocess
from fer_edge.images.synthetic import synthetic_crops

__all__ = ["golden_crops"]

_COUNT = 4


def golden_crops(
    spec: InputSpec, answers: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.floating]]
) -> tuple[GoldenCrop, ...]:
    """Gray and colour, shrinking and growing: one drawing each.

    ``answers`` maps tensors, uint8 ``(N, H, W, C)``, to the reference's probabilities ``(N, 7)``.
    """
    drawn = synthetic_crops(_COUNT, seed=1)
    raw = [drawn[0], drawn[1][:, :, 1], drawn[2][10:80, 20:60], drawn[3][40:72, 40:72, 0]]
    pixels = [np.ascontiguousarray(crop) for crop in raw]
    tensors = np.empty((len(pixels), *spec.shape), np.uint8)
    for crop, row in zip(pixels, tensors, strict=True):
        preprocess(crop, spec, row)
    return tuple(map(GoldenCrop.of, pixels, tensors, answers(tensors).astype(np.float32)))
