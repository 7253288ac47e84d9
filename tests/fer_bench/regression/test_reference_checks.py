"""Checks beside the fp32 reference, of answers that are made up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from fer_bench.regression.baseline import Baseline, RecordedCell, RecordedLatency
from fer_bench.regression.cells import Cell
from fer_bench.regression.outcome import NotCompared, Outcome
from fer_bench.regression.pictures import EvaluationData
from fer_bench.regression.reference_checks import latency, parity
from fer_bench.regression.subject import Subject
from fer_edge.artifacts.manifest import ArtifactEntry
from fer_edge.evaluation.fer2013 import LabelledCrops
from fer_edge.system.machine import cpu_name

ENTRY = ArtifactEntry("m.onnx", "a" * 64, 1, "onnx", "fp32")
CELL = Cell(Path(), "m.int8.onnx", "onnxruntime", replace(ENTRY, precision="int8"))
REFERENCE = Cell(Path(), "m.onnx", "onnxruntime", ENTRY)
CROP = np.zeros((48, 48), np.uint8)
KEPT = RecordedCell("int8", "a" * 64, 1, {})
SURE = np.eye(7)[:1] * 0.93 + 0.01


def _subject(
    kept: RecordedCell,
    given: npt.NDArray[np.floating] = SURE,
    on_data: npt.NDArray[np.floating] = SURE,
) -> Subject:
    """With a reference that is sure of the first class, of a probe and of a picture."""
    crops = LabelledCrops(CROP[None], np.zeros(1, np.int64), ("x.png",))
    data, probe = EvaluationData("public-test", crops, "same"), {"probe": CROP}
    baseline = Baseline("m", {CELL.name: kept})
    reference = Subject(
        REFERENCE, "m", probe, (), baseline, data=data, _on_probes=SURE, _on_data=SURE
    )
    return Subject(
        CELL,
        "m",
        probe,
        (),
        baseline,
        data=data,
        reference=reference,
        _on_probes=given,
        _on_data=on_data,
    )


def _failing(outcome: Outcome) -> list[str]:
    return [row.what for row in outcome.rows if not row.holds]


def test_answers_to_pictures_are_compared_as_well_as_those_to_probes() -> None:
    assert _failing(parity(_subject(KEPT))) == []
    assert _failing(parity(_subject(KEPT, on_data=SURE[:, ::-1]))) == [
        "public-test: top-1 agreement",
        "public-test: mean KL, nats",
        "public-test: max |Δp|",
    ]


def _moved(share: float) -> npt.NDArray[np.floating]:
    """A part of the first class's probability, given to the second."""
    moved = SURE.copy()
    moved[0, :2] += (-share, share)
    return moved


@pytest.mark.parametrize(
    ("share", "recorded", "failing"),
    [
        (0.001, 1e-9, []),  # a KL of 5e-5: rounding, however little was recorded
        (0.02, 1e-3, ["probes: growth of mean KL"]),
        (0.02, 8e-3, []),
    ],
)
def test_growth_of_the_kl_counts_beyond_rounding(
    share: float, recorded: float, failing: list[str]
) -> None:
    kept = replace(KEPT, mean_kl=recorded)
    assert _failing(parity(_subject(kept, given=_moved(share)))) == failing


@pytest.mark.parametrize(
    ("kept", "reason"),
    [
        (None, "the baseline has no latency of this cell"),
        (RecordedLatency(9.0, REFERENCE.name, "another"), "the ratio was recorded on another"),
        (RecordedLatency(9.0, "n.onnx[torch]", cpu_name()), r"recorded against n\.onnx\[torch\]"),
    ],
)
def test_a_ratio_of_something_else_is_no_comparison(
    kept: RecordedLatency | None, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "fer_bench.regression.reference_checks.measure_pair", lambda *_: pytest.fail("measured")
    )
    with pytest.raises(NotCompared, match=reason):
        latency(_subject(replace(KEPT, latency=kept)))
