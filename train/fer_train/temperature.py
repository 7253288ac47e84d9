"""Temperature scaling: one number that makes confidence mean what it says.

Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating]

_LOWEST, _HIGHEST = 0.05, 20.0
_TOLERANCE = 1e-4
_GOLDEN = (math.sqrt(5) - 1) / 2


def fit(labels: Labels, logits: Floats) -> float:
    """Find the temperature of least negative log-likelihood.

    ``logits`` is ``(N, K)``. The likelihood has one minimum over the temperature, so a
    golden-section search on its logarithm, from 0.05 to 20, finds it.
    """
    true = logits[np.arange(len(labels)), labels]
    gaps = logits.astype(np.float64) - true[:, None]

    def loss(log_temperature: float) -> float:
        # from logits: probabilities that round to 0 would be equally bad, and the minimum lost
        return float(np.logaddexp.reduce(gaps / math.exp(log_temperature), axis=1).mean())

    low, high = math.log(_LOWEST), math.log(_HIGHEST)
    while high - low > _TOLERANCE:
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if loss(left) < loss(right):
            high = right
        else:
            low = left
    return math.exp((low + high) / 2)


def cross_fitted(labels: Labels, logits: Floats, folds: int = 5) -> npt.NDArray[np.float64]:
    """Fit a temperature for each picture from other pictures alone, ``(N, 1)``.

    A single picture, which has no others, keeps the temperature 1.
    """
    fold = np.random.default_rng(0).permutation(len(labels)) % min(folds, len(labels))
    temperatures = np.ones((len(labels), 1))
    for number in np.unique(fold):
        held = fold == number
        if not held.all():
            temperatures[held] = fit(labels[~held], logits[~held])
    return temperatures
