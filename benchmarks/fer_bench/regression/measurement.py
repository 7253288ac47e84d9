"""What one cell does: its answers to probes and pictures, and its time beside the reference's."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from fer_edge.evaluation.agreement import Agreement, agreement
from fer_edge.predictor import Predictor
from fer_edge.system.progress import progress

__all__ = ["compare", "latency_ratio", "predict_all"]

Probabilities = npt.NDArray[np.floating]
UInt8Array = npt.NDArray[np.uint8]

_BATCH = 64
_TIE = 1e-4
_ROUNDS, _BUDGET_S, _MAX_CALLS = 15, 1.5, 40


def predict_all(predictor: Predictor, crops: Iterable[UInt8Array], label: str) -> Probabilities:
    """Classify crops of any sizes; float32 ``(N, 7)``."""
    items = list(crops)
    rows: list[npt.NDArray[np.float32]] = []
    batch = min(_BATCH, predictor.info.max_batch or _BATCH)
    with progress(len(items), label) as bar:
        for start in range(0, len(items), batch):
            part = items[start : start + batch]
            rows += [answer.probabilities for answer in predictor.predict_batch(part)]
            bar.advance(len(part))
    return np.stack(rows)


def compare(expected: Probabilities, given: Probabilities) -> Agreement:
    """Compare ``(N, 7)`` with ``(N, 7)``; a top-1 that ties within 1e-4 counts as the same."""
    return agreement(expected, given, tie=_TIE)


def latency_ratio(predictor: Predictor, reference: Predictor) -> float:
    """Median over rounds of the ratio of their median times for one crop.

    Both run in turns, so that what else the machine does falls on both alike.
    """
    tensors = [np.zeros((1, *p.info.spec.input.shape), np.uint8) for p in (predictor, reference)]
    pairs = list(zip((predictor, reference), tensors, strict=True))
    for measured, tensor in pairs:  # engines choose their kernels in the first calls
        _times(measured, tensor, 3)
    slowest = sum(_times(measured, tensor, 3) for measured, tensor in pairs)
    calls = max(1, min(_MAX_CALLS, int(_BUDGET_S / _ROUNDS / max(slowest, 1e-9))))
    ratios = []
    for _ in range(_ROUNDS):
        mine, other = (_times(measured, tensor, calls) for measured, tensor in pairs)
        ratios.append(mine / other)
    return statistics.median(ratios)


def _times(predictor: Predictor, tensor: UInt8Array, calls: int) -> float:
    taken = []
    for _ in range(calls):
        start = time.perf_counter()
        predictor.predict_tensor(tensor)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)
