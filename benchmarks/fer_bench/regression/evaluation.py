"""The labelled pictures of a run, in an order that does not depend on their container."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from fer_edge.evaluation import fer2013
from fer_edge.evaluation.fer2013 import LabelledCrops

__all__ = ["EvaluationData", "load_data"]


@dataclass(frozen=True, eq=False)
class EvaluationData:
    """A split in canonical order: by the sha256 of label and pixels."""

    split: str
    crops: LabelledCrops
    sha256: str


def load_data(path: str | os.PathLike[str], split: str) -> EvaluationData:
    """Read a split of FER2013. Raises DataError."""
    crops = fer2013.load(Path(path), split)
    return EvaluationData(split, crops.take(crops.canonical_order()), crops.sha256)
