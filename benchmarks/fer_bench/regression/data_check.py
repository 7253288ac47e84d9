"""Whether the pictures of a run are those that the baseline was recorded on."""

from __future__ import annotations

from fer_bench.regression.baseline import Baseline, RecordedData
from fer_bench.regression.evaluation import EvaluationData
from fer_bench.regression.outcome import NotCompared, Outcome, Row
from fer_edge.errors import DataError

__all__ = ["check_data", "demand_data", "same_data"]

_HASH_SHOWN = 12


def check_data(baseline: Baseline, data: EvaluationData, *, other_data: bool) -> Outcome:
    """The recorded pictures, unless ``other_data`` says that others are meant.

    Raises DataError for others, and NotCompared where the baseline has no pictures.
    """
    kept = baseline.data
    if kept is None:
        raise NotCompared("the baseline was recorded without pictures; --fer-update-baseline")
    demand_data(baseline, data, other_data=other_data)
    bound = "any" if other_data else "the same"
    rows = (
        Row("split", kept.split, data.split, bound, holds=True),
        Row("pictures", f"{kept.n:,}", f"{len(data.crops):,}", bound, holds=True),
        Row("sha256", kept.sha256[:_HASH_SHOWN], data.sha256[:_HASH_SHOWN], bound, holds=True),
    )
    return Outcome(rows)


def same_data(baseline: Baseline, data: EvaluationData | None) -> bool:
    """Whether the baseline is of the very same pictures, whatever their split is called."""
    kept = baseline.data
    return kept is not None and data is not None and kept.sha256 == data.sha256


def demand_data(baseline: Baseline, data: EvaluationData, *, other_data: bool) -> None:
    """Raise DataError for other pictures than the recorded ones, unless they are meant.

    Other pictures are held against an interval, which the fewer they are the less it tells: an
    archive that was cut short or swapped would disarm what is checked on it, and nobody would see.
    """
    if other_data or same_data(baseline, data):
        return
    kept = baseline.data
    known = "pictures that it does not name" if kept is None else _told(kept)
    now = _told(RecordedData(data.split, len(data.crops), data.sha256))
    raise DataError(
        f"the baseline is of {known}, and these are {now}; give the recorded ones (--fer-data, "
        "--fer-split), record these (--fer-update-baseline), or say that others are meant "
        "(--fer-other-data)"
    )


def _told(data: RecordedData) -> str:
    return f"{data.n:,} pictures of {data.split} (sha256 {data.sha256[:_HASH_SHOWN]}…)"
