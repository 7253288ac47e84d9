"""The ranges of a core's tensors on the calibration crops, without outliers.

In a network with nearly dead channels, a few odd crops cause activations that are a thousand times
too large. Three of them among 512 would stretch a range so far that all other values become the
same integer. So a crop is left out if any tensor peaks far higher on it than on other crops.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from fer_calib.crops import Crops, batch_size
from fer_calib.layers import CoreGraph
from fer_calib.running import Floats, activations
from fer_edge.system.progress import track

_USUAL = 0.95
_FAR = 4.0
_MOST_LEFT_OUT = 0.02


@dataclass(frozen=True, eq=False)
class Observation:
    """The range ``(low, high)`` of each tensor, which holds 0, and the crops that were left out.

    ``outliers`` are positions in the calibration set.
    """

    spans: Mapping[str, tuple[float, float]]
    outliers: tuple[int, ...]


def observe(core: onnx.ModelProto, crops: Crops) -> Observation:
    """Run a float32 core on calibration crops and record the tensors that can be quantised.

    Raises ArtifactError for a graph that is no core.
    """
    names = CoreGraph(core).tensors()
    rows = []  # of each batch, the extremes of every tensor on every crop: (2, T, n)
    parts = -(-len(crops) // batch_size(*crops.tensors.shape[1:3]))
    for held in track(activations(core, names, crops), parts, "observing ranges"):
        flat = [held[name].reshape(len(held[name]), -1) for name in names]
        rows.append([[v.min(axis=1) for v in flat], [v.max(axis=1) for v in flat]])
    lows, highs = np.concatenate([np.asarray(row, np.float32) for row in rows], axis=-1)
    left_out = outliers_of(np.maximum(-lows, highs))
    kept_lows = lows[:, ~left_out].min(axis=1, initial=0).tolist()
    kept_highs = highs[:, ~left_out].max(axis=1, initial=0).tolist()
    return Observation(
        dict(zip(names, zip(kept_lows, kept_highs, strict=True), strict=True)),
        tuple(np.flatnonzero(left_out).tolist()),
    )


def outliers_of(peaks: Floats) -> npt.NDArray[np.bool_]:
    """Which crops are outliers, by the peaks ``(T, N)`` of the tensors; bool ``(N,)``.

    A crop is an outlier if some tensor exceeds four times its 95th percentile over the crops. At
    most 2 % of the crops are left out, rounded up, the worst first: more would be the network's
    usual behaviour. A tensor that is 0 on 95 % of the crops is ignored, because its rare activity
    would be cut off. A peak that is no number counts as infinite.
    """
    peaks = np.nan_to_num(peaks, nan=np.inf, posinf=np.inf)
    usual = np.quantile(peaks, _USUAL, axis=1, method="lower", keepdims=True)
    heard = (usual[:, 0] > 0) & np.isfinite(usual[:, 0])
    if not heard.any():
        return np.zeros(peaks.shape[1], np.bool_)
    excess = (peaks[heard] / (_FAR * usual[heard])).max(axis=0)
    outliers = excess > 1
    most = int(np.ceil(_MOST_LEFT_OUT * len(excess)))
    outliers[np.argsort(-excess, kind="stable")[most:]] = False
    return np.asarray(outliers, np.bool_)
