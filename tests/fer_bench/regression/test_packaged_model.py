"""The model in the wheel, on every backend that is here, against its recorded baseline.

After a change that is meant: ``make baseline``, and read the diff.
"""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from fer_bench.regression.baseline import Baseline
from fer_bench.regression.latency_ratio import PairedLatency
from fer_bench.regression.outcome import table
from fer_bench.regression.suite import Result, Suite
from fer_edge.backends import backend_class
from fer_edge.errors import MissingDependencyError
from fer_edge.predictor import Predictor

BASELINE = Path(__file__).with_name("default.json")
OPENVINO = {name for name in Baseline.read(BASELINE).cells if name.endswith("[openvino]")}


def _reports(results: list[Result]) -> list[str]:
    return [
        "\n".join([result.name, table(result.outcome.rows) if result.outcome else result.reason])
        for result in results
        if result.failed
    ]


@pytest.fixture(autouse=True)
def busy(timed: dict[str, PairedLatency], monkeypatch: pytest.MonkeyPatch) -> None:
    """Latency is not judged here: other tests run on this machine."""
    monkeypatch.setitem(timed, "now", PairedLatency(1.0, (0.5, 2.0), ("tests run here",)))


def test_the_packaged_model_is_the_one_that_was_recorded() -> None:
    """Golden crops, drawings and portraits: no data set is needed."""
    results = Suite("default", BASELINE).results()
    assert _reports(results) == []
    checked = {result.name.rpartition("::")[2] for result in results if result.outcome}
    assert {"intact", "recorded", "golden", "answers", "size"} <= checked


def test_the_packaged_model_answers_fer2013_as_it_did(fer2013_archive: Path) -> None:
    """That which Predictor opens by default; the long test below takes every artifact."""
    with Predictor() as fer:
        name = f"{fer.info.artifact.name}[{fer.info.backend}]"
    with closing(Suite("default", BASELINE, data=fer2013_archive)) as suite:
        (subject,) = (one for one in suite.subjects if one.cell.name == name)
        outcomes = [suite.check(subject, check) for check in ("accuracy", "recall", "calibration")]
    assert [table(outcome.rows) for outcome in outcomes if not outcome.holds] == []


@pytest.fixture
def without_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device on which OpenVINO is not installed."""

    def found(name: str) -> object:
        if name == "openvino":
            raise MissingDependencyError("openvino", "openvino")
        return backend_class(name)

    monkeypatch.setattr("fer_edge.backends.backend_class", found)


def _untested(why: str) -> dict[str, str]:
    """What a run on ONNX Runtime alone and without pictures leaves out."""
    data = "the baseline has accuracies; without --fer-data they are not tested"
    return {**{f"fer::{name}::tested": why for name in OPENVINO}, "fer::data": data}


@pytest.mark.usefixtures("without_openvino")
def test_an_engine_that_is_not_here_loses_nothing_and_is_told() -> None:
    suite = Suite("default", BASELINE)
    assert suite.lost == {}
    assert suite.untested == _untested(suite.model.absent["openvino"])
    assert "openvino is not installed" in suite.model.absent["openvino"]


def test_what_is_not_tested_stands_in_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    suite = Suite("default", BASELINE, backends=["onnxruntime"])
    monkeypatch.setattr(suite, "steps", dict)
    told = {result.name: result.reason for result in suite.results()}
    assert told == _untested("its backend was not chosen for this run")
    assert (suite.lost, len(OPENVINO) > 0) == ({}, True)


def test_a_recording_keeps_the_cells_of_other_engines(tmp_path: Path) -> None:
    baseline = Path(shutil.copy(BASELINE, tmp_path))
    suite = Suite("default", baseline, backends=["onnxruntime"], update=True)
    assert _reports(suite.results()) == []
    kept = Baseline.read(baseline).cells
    recorded = Baseline.read(BASELINE).cells
    assert {name: kept[name] for name in OPENVINO} == {name: recorded[name] for name in OPENVINO}


@pytest.mark.long
def test_ten_runs_in_a_row_pass(fer2013_archive: Path) -> None:
    for _ in range(int(os.environ.get("FER_RUNS", "10"))):
        assert _reports(Suite("default", BASELINE, data=fer2013_archive).results()) == []
