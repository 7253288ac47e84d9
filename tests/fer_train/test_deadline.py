"""Handing back the turn in time."""

from __future__ import annotations

from fer_train.deadline import Deadline


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_work_that_would_end_too_late_is_not_begun() -> None:
    clock = Clock()
    deadline = Deadline(1.0, clock)
    assert deadline.allows(10)
    clock.now_s += 45
    assert deadline.allows(15)
    assert not deadline.allows(16)


def test_every_turn_does_one_piece_of_work_however_short_it_is() -> None:
    deadline = Deadline(0.0, Clock())
    assert deadline.allows(1000)
    assert not deadline.allows(1)


def test_without_minutes_there_is_no_end() -> None:
    deadline = Deadline(None, Clock())
    assert deadline.allows(1e9)
    assert deadline.allows(1e9)
