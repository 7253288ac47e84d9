"""The records of a training."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fer_edge.errors import ArtifactError
from fer_train.journal import METRICS, Epoch, Journal, read_journal


def epoch(number: int, loss: float, accuracy: float | None = None) -> Epoch:
    return Epoch(number, loss, 0.5, 1e-3, 100.0, accuracy, None, 12.5, "a CPU")


def test_what_an_interrupted_run_wrote_too_much_is_replaced(tmp_path: Path) -> None:
    for number, loss in ((1, 3.0), (2, 2.5), (3, 2.0)):
        journal = Journal(tmp_path)
        journal.record(epoch(number, loss))
        journal.close()
    resumed = Journal(tmp_path)
    resumed.record(epoch(2, 2.25))
    resumed.close()
    lines = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    assert [(line["epoch"], line["train_loss"]) for line in lines] == [(1, 3.0), (2, 2.25)]


def test_tensorboard_sees_what_was_measured(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.record(epoch(1, 2.0))
    journal.record(epoch(2, 1.5, 0.5))
    journal.close()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.value for event in events.Scalars("train_loss")] == [2.0, 1.5]
    (accuracy,) = events.Scalars("public_test_accuracy")
    assert (accuracy.step, accuracy.value) == (2, pytest.approx(0.5))


def test_what_was_recorded_is_read(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for line in (first := epoch(1, 2.0)), (second := epoch(2, 1.5, 0.5)):
        journal.record(line)
    journal.close()
    assert read_journal(tmp_path / METRICS) == (first, second)


def test_a_journal_from_before_times_were_kept_is_read(root: Path) -> None:
    lines = read_journal(root / "train" / "weights" / f"mobilenet.{METRICS}")
    assert {(line.seconds, line.hardware) for line in lines} == {(None, None)}


GOOD = json.dumps(asdict(epoch(1, 2.0)))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("no JSON", "line 2 is not valid JSON"),
        ("", "line 2 is not valid JSON"),
        ("[]", "line 2 should be of type dict"),
        ('{"images_per_s": 100.0}', "line 2 lacks the fields epoch"),
        (GOOD.replace("100.0", "NaN"), "line 2 is not valid JSON: NaN"),
    ],
)
def test_a_damaged_line_is_told_with_its_number(bad: str, message: str, tmp_path: Path) -> None:
    (tmp_path / METRICS).write_text(f"{GOOD}\n{bad}\n")
    with pytest.raises(ArtifactError, match=message):
        read_journal(tmp_path / METRICS)
    with pytest.raises(ArtifactError, match=message):
        Journal(tmp_path).record(epoch(2, 1.5))


def test_a_journal_that_is_not_there_or_endless_is_told(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="there is no journal at"):
        read_journal(tmp_path / METRICS)
    (tmp_path / METRICS).touch()
    os.truncate(tmp_path / METRICS, 1 << 40)
    with pytest.raises(ArtifactError, match="the most is 67,108,864"):
        read_journal(tmp_path / METRICS)
