"""Any baseline: refused, or held against a model without a surprise."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fuzzed_json import changed_json
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_bench.paired_tests import pack_mask
from fer_bench.regression.answer_checks import answers, latency, parity, recorded, size
from fer_bench.regression.baseline import (
    Baseline,
    RecordedAccuracy,
    RecordedCell,
    RecordedData,
    RecordedLatency,
    write_answer,
)
from fer_bench.regression.cells import Cell, ModelUnderTest
from fer_bench.regression.outcome import NotCompared, Outcome, table
from fer_bench.regression.picture_checks import accuracy, calibration, recall
from fer_bench.regression.subject import Run, Subject
from fer_edge import LABELS, FerEdgeError
from fer_edge.artifacts.manifest import ArtifactEntry
from fer_edge.artifacts.record import encode
from fer_edge.errors import DataError
from fer_edge.evaluation.fer2013 import LabelledCrops

FUZZ = settings(settings.get_profile("fuzz"))
HASH = "a" * 64
LABELLED = LabelledCrops(np.zeros((7, 48, 48), np.uint8), np.arange(7), ("x.png",) * 7)
MODEL = ModelUnderTest(Path("m"), None, (), {})
ANSWERS = np.eye(7)
PROBES = {"drawing-000": LABELLED.images[0]}
CELL = RecordedCell(
    "fp32",
    HASH,
    3,
    {"drawing-000": write_answer(ANSWERS[0])},
    1e-9,
    RecordedLatency(1.0, "r.onnx[onnxruntime]", "another machine"),
    RecordedAccuracy(1.0, dict.fromkeys(LABELS, 1.0), 0.0, pack_mask(np.ones(7, np.bool_))),
)
BASELINE = Baseline("m", {"m.onnx[onnxruntime]": CELL}, data=RecordedData("public-test", 7, HASH))


def _subject(folder: Path, file: str, run: Run) -> Subject:
    """One that has answered already, so that nothing is opened."""
    (folder / file).write_bytes(b"abc")
    entry = ArtifactEntry(file, hashlib.sha256(b"abc").hexdigest(), 3, "onnx", "fp32")
    cell = Cell(folder, file, "onnxruntime", entry)
    subject = Subject(cell, run)
    vars(subject).update(on_probes=ANSWERS[:1], on_data=ANSWERS)
    return subject


def _report(check: Callable[[Subject], Outcome], subject: Subject) -> str:
    try:
        return table(check(subject).rows)
    except (NotCompared, FerEdgeError) as reason:
        return str(reason)


@FUZZ
@given(changed_json(encode(BASELINE)), st.booleans())
def test_any_baseline_is_refused_or_held_against_a_model(
    survive: Any, folder: Path, text: str, meant: bool
) -> None:
    """Each check that it bounds gives a table or a reason, and a terminal can show it."""
    (folder / "b.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    found = survive(Baseline.read, folder / "b.json")
    assert isinstance(found, (Baseline, DataError))
    assert str(found).encode()
    if isinstance(found, Baseline):
        run = Run(MODEL, found, "given", other_data=meant)
        known = {"data": LABELLED, "pictures": RecordedData("public-test", 7, HASH)}
        vars(run).update(known, probes=PROBES, reference=_subject(folder, "r.onnx", run))
        subject = _subject(folder, "m.onnx", run)
        for check in (recorded, answers, parity, accuracy, recall, calibration, size, latency):
            assert survive(_report, check, subject).encode()
