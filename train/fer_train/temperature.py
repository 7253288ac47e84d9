"""Temperature scaling: one number that makes confidence mean what it says.

Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from fer_edge.metrics import negative_log_likelihood, softmax

__all__ = ["cross_fitted", "fit"]

Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating]

_LOWEST, _HIGHEST = 0.05, 20.0
_TOLERANCE = 1e-4
_GOLDEN = (math.sqrt(5) - 1) / 2


def fit(labels: Labels, logits: Floats) -> float:
    """Find the temperature of least negative log-likelihood.

    ``logits`` is ``(N, K)``. The likelihood has one minimum over the temperature, so a
    golden-section search on its logarithm finds it.
    """

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(labels, softmax(logits, math.exp(log_temperature)))

    low, high = math.log(_LOWEST), math.log(_HIGHEST)
    while high - low > _TOLERANCE:
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if loss(left) < loss(right):
            high = right
        else:
            low = left
    return math.exp((low + high) / 2)


def cross_fitted(labels: Labels, logits: Floats, folds: int = 5) -> npt.NDArray[np.float64]:
    """Probabilities in which no picture had a part in its own temperature; ``(N, K)``."""
    fold = np.random.default_rng(0).permutation(len(labels)) % min(folds, len(labels))
    probabilities = np.empty(logits.shape, np.float64)
    for number in np.unique(fold):
        held = fold == number
        fitted_on = ~held if (~held).any() else held
        temperature = fit(labels[fitted_on], logits[fitted_on])
        probabilities[held] = softmax(logits[held], temperature)
    return probabilities
