"""The model in the wheel, on every backend that is here, against its recorded baseline.

After a change that is meant: ``make baseline``, and read the diff.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fer_bench.regression.outcome import table
from fer_bench.regression.suite import Result, run_suite

BASELINE = Path(__file__).with_name("default.json")


def _reports(results: list[Result]) -> list[str]:
    return [
        "\n".join([result.name, table(result.outcome.rows) if result.outcome else result.reason])
        for result in results
        if result.failed
    ]


def test_the_packaged_model_is_the_one_that_was_recorded() -> None:
    """Golden crops, drawings and portraits: no data set is needed."""
    results = run_suite("default", BASELINE)
    assert _reports(results) == []
    checked = {result.name.rpartition("::")[2] for result in results if result.outcome}
    assert {"intact", "recorded", "golden", "answers", "size"} <= checked


def test_the_packaged_model_answers_fer2013_as_it_did(fer2013_archive: Path) -> None:
    results = run_suite("default", BASELINE, data=fer2013_archive)
    assert _reports(results) == []
    checked = {result.name.rpartition("::")[2] for result in results if result.outcome}
    assert {"accuracy", "recall", "calibration"} <= checked


@pytest.mark.long
def test_ten_runs_in_a_row_pass(fer2013_archive: Path) -> None:
    for _ in range(int(os.environ.get("FER_RUNS", "10"))):
        assert _reports(run_suite("default", BASELINE, data=fer2013_archive)) == []
