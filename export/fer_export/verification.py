"""Proof of an artifact: the same answers as the fp32 torch network, on real crops where there are.

An artifact is opened through Predictor, as a user would open it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from fer_edge import fer2013, metrics
from fer_edge.errors import GateError
from fer_edge.fer2013 import LabelledCrops
from fer_edge.manifest import MeasuredAccuracy, Parity
from fer_edge.network import Normalized
from fer_edge.predictor import Predictor
from fer_edge.preprocess import preprocess_all
from fer_edge.progress import track
from fer_edge.spec import ModelSpec
from fer_edge.synthetic import synthetic_crops

__all__ = ["GATES", "EvaluationCrops", "Gate", "evaluation_crops", "verify"]

_BATCH_SIZES = (1, 2, 7)
_BATCH = 256
_SYNTHETIC = 512
_SELECTION_SPLIT = "public-test"


@dataclass(frozen=True)
class Gate:
    """What parity has to reach, by precision of the artifact."""

    max_probability_difference: float
    top1_agreement: float

    def defects(self, parity: Parity) -> list[str]:
        """What does not hold, as sentences; empty if all does."""
        found = []
        if not parity.max_probability_difference <= self.max_probability_difference:
            found.append(
                f"a probability differs by {parity.max_probability_difference:.2e}, "
                f"allowed are {self.max_probability_difference:.0e}"
            )
        if not parity.top1_agreement >= self.top1_agreement:
            found.append(
                f"top-1 agrees on {parity.top1_agreement:.2%}, required are "
                f"{self.top1_agreement:.1%}"
            )
        return found


GATES = {"fp32": Gate(max_probability_difference=1e-4, top1_agreement=1.0)}


@dataclass(frozen=True, eq=False)
class EvaluationCrops:
    """Tensors ``(N, H, W, C)`` to compare on, their source, and labels where they are known."""

    tensors: npt.NDArray[np.uint8]
    source: str
    labels: npt.NDArray[np.int64] | None


def evaluation_crops(spec: ModelSpec, data: Path | None) -> EvaluationCrops:
    """Crops of ``public-test`` from FER2013 at ``data``, or seeded drawings where it is None."""
    if data is None:
        return EvaluationCrops(
            preprocess_all(synthetic_crops(_SYNTHETIC), spec.input),
            f"{_SYNTHETIC} seeded drawings",
            None,
        )
    split: LabelledCrops = fer2013.load(data, _SELECTION_SPLIT)
    return EvaluationCrops(
        preprocess_all(split.images, spec.input), f"FER2013 {_SELECTION_SPLIT}", split.labels
    )


def verify(
    artifact: Path, backend: str, network: nn.Module, spec: ModelSpec, crops: EvaluationCrops
) -> tuple[Parity, MeasuredAccuracy | None]:
    """Compare an artifact with its network, and measure its accuracy where labels are known.

    ``spec`` is the artifact's, so its precision chooses the gate. Raises GateError, which says
    all that does not hold: parity, or batches of 1, 2 and 7 that give other answers than the whole.
    """
    expected = _reference(network, spec, crops.tensors)
    with Predictor(artifact, backend=backend) as predictor:
        given = np.concatenate(
            [predictor.predict_tensor(part)[1] for part in _parts(crops.tensors, artifact.name)]
        )
        batched = {size: predictor.predict_tensor(crops.tensors[:size])[1] for size in _BATCH_SIZES}
    parity = _parity(expected, given, crops)
    gate = GATES[spec.precision]
    defects = gate.defects(parity)
    for size, probabilities in batched.items():
        gap = float(np.abs(probabilities - given[:size]).max())
        if not gap <= gate.max_probability_difference:
            defects.append(f"a batch of {size} differs from the whole by {gap:.2e}")
    if defects:
        raise GateError(
            f"{artifact.name} is not the network that it was made from: {'; '.join(defects)} "
            f"({parity.crops} crops, {parity.crops_from})"
        )
    return parity, _accuracy(given, crops)


def _parts(tensors: npt.NDArray[np.uint8], label: str) -> Iterator[npt.NDArray[np.uint8]]:
    starts = range(0, len(tensors), _BATCH)
    for start in track(starts, len(starts), f"running {label}"):
        yield tensors[start : start + _BATCH]


@torch.no_grad()
def _reference(
    network: nn.Module, spec: ModelSpec, tensors: npt.NDArray[np.uint8]
) -> npt.NDArray[np.float64]:
    model = Normalized(network, spec).eval()
    logits = [
        model(torch.from_numpy(part).permute(0, 3, 1, 2)).numpy()
        for part in _parts(tensors, "the network")
    ]
    return metrics.softmax(np.concatenate(logits), spec.temperature)


def _parity(
    expected: npt.NDArray[np.float64], given: npt.NDArray[np.float32], crops: EvaluationCrops
) -> Parity:
    tiny = np.finfo(np.float32).tiny
    ratio = np.log(np.maximum(expected, tiny)) - np.log(np.maximum(given, tiny))
    same = expected.argmax(axis=1) == given.argmax(axis=1)
    return Parity(
        crops=len(given),
        crops_from=crops.source,
        max_probability_difference=float(np.abs(expected - given).max()),
        mean_kl=float((expected * ratio).sum(axis=1).mean()),
        top1_agreement=float(same.mean()),
    )


def _accuracy(
    probabilities: npt.NDArray[np.float32], crops: EvaluationCrops
) -> MeasuredAccuracy | None:
    if crops.labels is None:
        return None
    hits = int((probabilities.argmax(axis=1) == crops.labels).sum())
    n = len(crops.labels)
    return MeasuredAccuracy(
        _SELECTION_SPLIT, "selected on", n, hits / n, metrics.wilson_interval(hits, n)
    )
