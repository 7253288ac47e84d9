"""Numbers that stay with a face."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from fer_edge.errors import ConfigurationError, InputError
from fer_edge.live.tracker import FaceTracker

Way = Callable[[float], "tuple[float, float] | None"]


def follow(
    ways: Sequence[Way], times: Sequence[float], side: float = 100, **settings: float
) -> list[list[int | None]]:
    """The number of each face (None while it is away) at each time."""
    tracker = FaceTracker(**settings)
    rows = []
    for time in times:
        places = [way(time) for way in ways]
        boxes = [(x, y, side, side) for x, y in filter(None, places)]
        numbers = iter(tracker.update(boxes, [0.9] * len(boxes), time))
        rows.append([None if place is None else next(numbers) for place in places])
    return rows


def steps(fps: float, seconds: float) -> list[float]:
    return [number / fps for number in range(round(fps * seconds))]


@pytest.mark.parametrize("fps", [2, 5, 30])
def test_faces_that_cross_keep_their_numbers(fps: float) -> None:
    ways: list[Way] = [lambda t: (100 + 100 * t, 100), lambda t: (900 - 100 * t, 130)]
    rows = follow(ways, steps(fps, 8))
    assert {tuple(row) for row in rows} == {(1, 2)}


@pytest.mark.parametrize("fps", [5, 30])
def test_a_face_that_is_hidden_while_another_passes_keeps_its_number(fps: float) -> None:
    def hidden(time: float) -> tuple[float, float] | None:
        return None if 3.6 < time < 4.4 else (100 + 100 * time, 100)

    rows = follow([hidden, lambda t: (900 - 100 * t, 130)], steps(fps, 8))
    assert {row[0] for row in rows} == {1, None}
    assert {row[1] for row in rows} == {2}


def test_eight_faces_that_wander_are_eight_numbers() -> None:
    def way(number: int) -> Way:
        return lambda t: (
            200 * (number % 4) + 60 * math.sin(t + number),
            250 * (number // 4) + 50 * math.cos(1.3 * t + number),
        )

    rows = follow([way(number) for number in range(8)], steps(30, 6))
    assert {tuple(row) for row in rows} == {tuple(range(1, 9))}


def test_frames_that_are_not_evenly_spaced_change_nothing() -> None:
    spaces = np.random.default_rng(0).uniform(0.01, 0.4, 60)
    ways: list[Way] = [lambda t: (100 + 80 * t, 100), lambda t: (1200 - 80 * t, 110)]
    rows = follow(ways, list(np.cumsum(spaces)))
    assert {tuple(row) for row in rows} == {(1, 2)}


def test_whoever_was_away_for_long_is_somebody_new_and_no_number_is_used_twice() -> None:
    rows = follow([lambda t: None if 1 < t < 4 else (100, 100)], steps(10, 6))
    assert [row[0] for row in rows if row[0]] == [1] * 11 + [2] * 20


def test_a_blink_of_the_detector_is_bridged() -> None:
    rows = follow([lambda t: None if 1 < t < 1.4 else (100, 100)], steps(10, 3))
    assert {row[0] for row in rows} == {1, None}


def test_a_face_far_away_or_of_another_size_is_another() -> None:
    tracker = FaceTracker()
    assert tracker.update([(0, 0, 100, 100)], [0.9], 0) == [1]
    assert tracker.update([(600, 400, 100, 100)], [0.9], 0.1) == [2]
    assert tracker.update([(60, 60, 400, 400)], [0.9], 0.2) == [3]


def test_a_weak_face_continues_a_track_and_starts_none() -> None:
    tracker = FaceTracker(min_score=0.7)
    assert tracker.update([(0, 0, 100, 100), (500, 0, 90, 90)], [0.9, 0.4], 0) == [1, None]
    assert tracker.update([(5, 0, 100, 100), (500, 0, 90, 90)], [0.4, 0.4], 0.1) == [1, None]
    assert tracker.update([(10, 0, 100, 100), (500, 0, 90, 90)], [0.4, 0.9], 0.2) == [1, 2]


def test_a_sure_face_takes_the_track_before_a_weak_one() -> None:
    tracker = FaceTracker()
    tracker.update([(0, 0, 100, 100)], [0.9], 0)
    assert tracker.update([(2, 0, 100, 100), (20, 0, 100, 100)], [0.4, 0.9], 0.1) == [None, 1]


def test_where_a_face_is_expected_follows_its_way() -> None:
    tracker = FaceTracker()
    for time in steps(30, 2):
        tracker.update([(100 + 90 * time, 50, 80, 80)], [0.9], time)
    ((number, box),) = tracker.expected(2 + 4 / 30).items()
    assert number == 1
    assert box == pytest.approx((100 + 90 * (2 + 4 / 30), 50, 80, 80), abs=1)


def test_after_a_reset_time_may_start_anew_and_everybody_is_new() -> None:
    tracker = FaceTracker()
    assert tracker.update([(0, 0, 100, 100)], [0.9], 50) == [1]
    tracker.reset()
    assert tracker.update([(0, 0, 100, 100)], [0.9], 0) == [2]


def test_no_face_is_no_number() -> None:
    assert FaceTracker().update([], [], 0) == []


def test_what_is_gone_is_forgotten() -> None:
    tracker = FaceTracker()
    for number in range(100):
        tracker.update([(0, 0, 50, 50)], [0.9], 10.0 * number)
    assert tracker.numbers() == {100}


@pytest.mark.parametrize("time", [-1, float("nan")])
def test_a_time_that_goes_back_is_an_error(time: float) -> None:
    tracker = FaceTracker()
    tracker.update([], [], 0)
    with pytest.raises(InputError, match="expected a time of at least 0"):
        tracker.update([], [], time)


@pytest.mark.parametrize("settings", [{"max_gap": 0}, {"min_score": math.nan}])
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(settings))):
        FaceTracker(**settings)
