"""Classify many crops through the calls that users make."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fer_edge.predictor import Predictor
from fer_edge.system.progress import progress

_BATCH = 64


def predict_crops(
    predictor: Predictor, crops: Sequence[npt.NDArray[np.uint8]], label: str
) -> npt.NDArray[np.float32]:
    """Probabilities ``(N, K)`` of crops of any sizes, in batches, with a progress bar."""
    rows: list[npt.NDArray[np.float32]] = []
    batch = min(_BATCH, predictor.info.max_batch or _BATCH)
    with progress(len(crops), label) as bar:
        for start in range(0, len(crops), batch):
            part = list(crops[start : start + batch])
            rows += [answer.probabilities for answer in predictor.predict_batch(part)]
            bar.advance(len(part))
    return np.stack(rows)
