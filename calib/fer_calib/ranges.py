"""From what a tensor held to the range that its integers span: the calibration methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from fer_calib.observation import Observation, TensorRecord
from fer_calib.running import Floats
from fer_edge.errors import ConfigurationError

__all__ = ["DEFAULT_METHOD", "METHODS", "Range", "ranges"]

Range: TypeAlias = tuple[float, float]

DEFAULT_METHOD = "entropy"

_PERCENTILE = 99.99
_BINS, _LEVELS, _STRIDE = 2048, 128, 16


def ranges(observation: Observation, method: str = DEFAULT_METHOD) -> dict[str, Range]:
    """Choose a range ``(low, high)`` with ``low <= 0 <= high`` for every tensor.

    Raises ConfigurationError for an unknown method.
    """
    if method not in METHODS:
        raise ConfigurationError(
            f"unknown calibration method {method!r}; there are {', '.join(METHODS)}"
        )
    return {name: _range(record, METHODS[method]) for name, record in observation.tensors.items()}


def _range(record: TensorRecord, method: Callable[[TensorRecord], Range]) -> Range:
    low, high = method(record)
    if low >= 0 >= high:  # a tensor too seldom active for its percentile to notice
        low, high = _min_max(record)
    return min(low, 0.0), max(high, 0.0)


def _min_max(record: TensorRecord) -> Range:
    return float(record.lows.min()), float(record.highs.max())


def _averaged_min_max(record: TensorRecord) -> Range:
    return float(record.lows.mean()), float(record.highs.mean())


def _percentile(record: TensorRecord) -> Range:
    low, high = np.percentile(record.samples, (100 - _PERCENTILE, _PERCENTILE))
    return float(low), float(high)


def _entropy(record: TensorRecord) -> Range:
    low, high = _min_max(record)
    limit = _threshold(np.abs(record.samples))
    return max(low, -limit), min(high, limit)


def _threshold(magnitudes: Floats) -> float:
    """Where to clip so that 128 levels lose least information.

    Migacz, "8-bit Inference with TensorRT", GTC 2017, slides 23 to 37. Zeros are left out: every
    scale represents them exactly, and behind a ReLU they would drown all else.
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


METHODS: Mapping[str, Callable[[TensorRecord], Range]] = {
    "min-max": _min_max,
    "averaged-min-max": _averaged_min_max,
    "entropy": _entropy,
    "percentile": _percentile,
}
"""``min-max`` spans everything; ``averaged-min-max`` the mean extremes of a crop; ``percentile``
all but one value in 10,000 at either end; ``entropy`` is TensorRT's."""
