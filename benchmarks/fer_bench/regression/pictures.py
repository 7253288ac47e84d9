"""The labelled pictures of a run, and whether they are those of the baseline."""

from __future__ import annotations

from dataclasses import dataclass

from fer_bench.regression.baseline import Baseline, RecordedData
from fer_bench.regression.outcome import NotCompared, Outcome, Row
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.errors import DataError
from fer_edge.evaluation import fer2013
from fer_edge.evaluation.fer2013 import LabelledCrops

__all__ = ["EvaluationData", "check_data", "demand_data", "load_data", "same_data"]

_HASH_SHOWN = 12


@dataclass(frozen=True, eq=False)
class EvaluationData:
    """A split, its crops sorted by the sha256 of label and pixels: no container changes that."""

    split: str
    crops: LabelledCrops
    sha256: str

    @property
    def record(self) -> RecordedData:
        """What a baseline keeps of it."""
        return RecordedData(self.split, len(self.crops), self.sha256)


def load_data(data: fer2013.Data, split: str, spec: ModelSpec | None = None) -> EvaluationData:
    """Read a split, for the model of ``spec`` if it is given. Raises DataError."""
    labels, wanted = (None, None) if spec is None else (spec.labels, spec.input)
    crops = fer2013.load(data, split, labels=labels, wanted=wanted)
    return EvaluationData(split, crops.take(crops.canonical_order()), crops.sha256)


def check_data(baseline: Baseline, data: EvaluationData, *, other_data: bool) -> Outcome:
    """The pictures are the recorded ones, unless ``other_data`` says that others are meant.

    Raises DataError for others, and NotCompared where the baseline has no pictures.
    """
    if baseline.data is None:
        raise NotCompared("the baseline was recorded without pictures; --fer-update-baseline")
    demand_data(baseline, data, other_data=other_data)
    bound, was, now = "any" if other_data else "the same", baseline.data, data.record
    return Outcome(
        (
            Row("split", was.split, now.split, bound, holds=True),
            Row("pictures", f"{was.n:,}", f"{now.n:,}", bound, holds=True),
            Row("sha256", was.sha256[:_HASH_SHOWN], now.sha256[:_HASH_SHOWN], bound, holds=True),
        )
    )


def same_data(baseline: Baseline, data: EvaluationData | None) -> bool:
    """Whether the baseline is of the very same pictures, whatever their split is called."""
    kept = baseline.data
    return kept is not None and data is not None and kept.sha256 == data.sha256


def demand_data(baseline: Baseline, data: EvaluationData, *, other_data: bool) -> None:
    """Raise DataError for other pictures than the recorded ones, unless they are meant.

    On other pictures only intervals can be compared, which tell less the fewer pictures there are.
    An archive that was cut short or swapped would weaken every check on it without a word.
    """
    if other_data or same_data(baseline, data):
        return
    kept = "pictures that it does not name" if baseline.data is None else _told(baseline.data)
    raise DataError(
        f"the baseline is of {kept}, and these are {_told(data.record)}; give the recorded ones "
        "(--fer-data, --fer-split), record these (--fer-update-baseline), or say that others are "
        "meant (--fer-other-data)"
    )


def _told(data: RecordedData) -> str:
    return f"{data.n:,} pictures of {data.split} (sha256 {data.sha256[:_HASH_SHOWN]}…)"
