"""From what a tensor held to the range that its integers span."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from fer_calib.observation import Observation, TensorRecord
from fer_calib.running import Floats

__all__ = ["Range", "ranges"]

Range: TypeAlias = tuple[float, float]

_BINS, _LEVELS, _STRIDE = 2048, 128, 16


def ranges(observation: Observation) -> dict[str, Range]:
    """Choose a range ``(low, high)`` with ``low <= 0 <= high`` for every tensor.

    It is clipped where 128 levels lose least information (Migacz, "8-bit Inference with TensorRT",
    GTC 2017, slides 23 to 37).
    """
    return {name: _range(record) for name, record in observation.tensors.items()}


def _range(record: TensorRecord) -> Range:
    low, high = float(record.lows.min()), float(record.highs.max())
    # a tensor that is active too seldom for its samples to show it keeps its extremes
    limit = _threshold(np.abs(record.samples)) or max(-low, high)
    return max(min(low, 0.0), -limit), min(max(high, 0.0), limit)


def _threshold(magnitudes: Floats) -> float:
    """Where to clip, or 0 where all samples are 0.

    Zeros are left out: every scale represents them exactly, and behind a ReLU they would outweigh
    all other values.
    """
    values = magnitudes[magnitudes > 0]
    if not len(values):
        return 0.0
    counts, edges = np.histogram(values, _BINS)
    candidates = range(_LEVELS, _BINS + 1, _STRIDE)
    losses = [_lost_information(counts, width) for width in candidates]
    return float(edges[candidates[int(np.argmin(losses))]])


def _lost_information(counts: np.ndarray, width: int) -> float:
    """KL divergence of the first ``width`` bins from what 128 levels keep of them."""
    reference = counts[:width].astype(np.float64)
    starts = np.arange(_LEVELS) * width // _LEVELS
    filled = reference > 0
    sums = np.add.reduceat(reference, starts)
    members = np.add.reduceat(filled.astype(np.float64), starts)
    spread = np.repeat(sums / np.maximum(members, 1), np.diff([*starts, width]))
    clipped = float(counts[width:].sum())
    reference[-1] += clipped
    filled = reference > 0
    p = reference[filled] / reference.sum()
    q = np.where(spread[filled] > 0, spread[filled], 1e-9) / max(spread[filled].sum(), 1e-9)
    return float((p * np.log(p / q)).sum())
