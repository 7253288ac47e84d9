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

from fer_calib.crops import Crops
from fer_calib.layers import CoreGraph
from fer_calib.running import Floats, activations
from fer_edge.system.progress import progress

_USUAL = 0.95
_FAR = 4.0
_MOST_LEFT_OUT = 0.02


@dataclass(frozen=True, eq=False)
class TensorRecord:
    """The extremes of one tensor on each crop, both float32 ``(N,)``."""

    lows: Floats
    highs: Floats

    @property
    def peaks(self) -> Floats:
        """Largest magnitude of each crop; infinite where something is not a number."""
        peaks = np.maximum(-self.lows, self.highs)
        return np.asarray(np.nan_to_num(peaks, nan=np.inf, posinf=np.inf), np.float32)

    def take(self, kept: npt.NDArray[np.bool_]) -> TensorRecord:
        """Select crops by a mask."""
        return TensorRecord(self.lows[kept], self.highs[kept])

    @property
    def span(self) -> tuple[float, float]:
        """The range ``(low, high)`` of all crops, which holds 0."""
        return min(float(self.lows.min()), 0.0), max(float(self.highs.max()), 0.0)


@dataclass(frozen=True, eq=False)
class Observation:
    """Records by tensor, and the positions of the crops that were left out of them."""

    tensors: Mapping[str, TensorRecord]
    outliers: tuple[int, ...]


def observe(core: onnx.ModelProto, crops: Crops) -> Observation:
    """Run a float32 core on calibration crops and record the tensors that can be quantised.

    Raises ArtifactError for a graph that is no core.
    """
    names = CoreGraph(core).tensors()
    rows: dict[str, list[TensorRecord]] = {name: [] for name in names}
    with progress(len(crops), "observing ranges") as bar:
        for held in activations(core, names, crops):
            for name, values in held.items():
                rows[name].append(_record(values))
            bar.advance(len(next(iter(held.values()))))
    whole = {name: _joined(parts) for name, parts in rows.items()}
    outliers = outliers_of(np.stack([record.peaks for record in whole.values()]))
    return Observation(
        {name: record.take(~outliers) for name, record in whole.items()},
        tuple(int(position) for position in np.flatnonzero(outliers)),
    )


def outliers_of(peaks: Floats) -> npt.NDArray[np.bool_]:
    """Which crops are outliers, by the peaks ``(T, N)`` of the tensors; bool ``(N,)``.

    A crop is an outlier if some tensor exceeds four times its 95th percentile over the crops. At
    most 2 % of the crops are left out, rounded up, the worst first: more would be the network's
    usual behaviour. A tensor that is 0 on 95 % of the crops is ignored, because its rare activity
    would be cut off.
    """
    usual = np.quantile(peaks, _USUAL, axis=1, method="lower", keepdims=True)
    heard = (usual[:, 0] > 0) & np.isfinite(usual[:, 0])
    if not heard.any():
        return np.zeros(peaks.shape[1], np.bool_)
    excess = (peaks[heard] / (_FAR * usual[heard])).max(axis=0)
    outliers = excess > 1
    most = int(np.ceil(_MOST_LEFT_OUT * len(excess)))
    outliers[np.argsort(-excess, kind="stable")[most:]] = False
    return np.asarray(outliers, np.bool_)


def _record(values: Floats) -> TensorRecord:
    flat = values.reshape(len(values), -1)
    return TensorRecord(flat.min(axis=1), flat.max(axis=1))


def _joined(parts: list[TensorRecord]) -> TensorRecord:
    return TensorRecord(
        np.concatenate([part.lows for part in parts]),
        np.concatenate([part.highs for part in parts]),
    )
