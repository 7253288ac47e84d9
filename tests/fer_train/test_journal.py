"""The records of a training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fer_train.journal import METRICS, Epoch, Journal


def epoch(number: int, loss: float, accuracy: float | None = None) -> Epoch:
    return Epoch(number, loss, 0.5, 1e-3, 100.0, accuracy, None, 12.5, "a CPU")


def test_every_epoch_is_a_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for number in (1, 2):
        journal.record(epoch(number, 2.0, 0.25))
    journal.close()
    lines = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert lines[0]["public_test_accuracy"] == 0.25


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
