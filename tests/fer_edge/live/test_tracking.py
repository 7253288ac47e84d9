"""FaceAnalyzer.track: who is where, with which emotion."""

from __future__ import annotations

import threading
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from forked import in_a_child
from portrait_videos import Walk, crossing, portraits, walk_frames

from fer_edge import (
    ClosedError,
    Face,
    FaceAnalyzer,
    InputError,
    Predictor,
    annotate,
)
from fer_edge.live.sources import Frame
from fer_edge.live.tracking import TrackedFrame, _Searched
from fer_edge.system.threads import idle

Image = npt.NDArray[np.uint8]


def places(frames: list[TrackedFrame]) -> dict[int, list[tuple[float, int]]]:
    """For each number the times at which its face was seen, and where from the left."""
    found = defaultdict(list)
    for frame in frames:
        for face in frame.faces:
            found[face.track_id].append((frame.time, face.box[0]))
    return dict(found)


@pytest.mark.parametrize("fps", [5, 15])
def test_people_who_cross_are_two_people_throughout(analyzer: FaceAnalyzer, fps: float) -> None:
    seen = places(list(analyzer.track(crossing(fps))))
    assert len(seen) == 2
    starts = sorted(track[0][1] for track in seen.values())
    for track in seen.values():
        (_, first), (_, last) = track[0], track[-1]
        assert (first == starts[0]) == (last > first), "each goes on to the other side"
        assert len(track) > 0.6 * 4 * fps


@pytest.mark.parametrize("fps", [5, 30])
@pytest.mark.parametrize("people", [1, 4, 8])
def test_every_one_of_a_group_keeps_a_number(
    analyzer: FaceAnalyzer, people: int, fps: float
) -> None:
    def walk(number: int) -> Walk:
        x, y = 20 + 180 * (number % 4), 20 + 190 * (number // 4)
        return lambda t: (x + 25 * np.sin(2 * t + number), y + 15 * np.cos(3 * t + number))

    heads = [portraits(130)[number % 2] for number in range(people)]
    walks = [walk(number) for number in range(people)]
    times = [number / fps for number in range(round(1.5 * fps))]
    frames = list(analyzer.track(walk_frames(heads, walks, times, (760, 400))))
    assert [sorted(face.track_id for face in frame.faces) for frame in frames] == [
        list(range(1, people + 1))
    ] * len(times)


def test_a_video_file_gives_every_frame_with_its_time(
    analyzer: FaceAnalyzer, crossing_video: Path
) -> None:
    with analyzer.track(crossing_video) as tracking:
        frames = list(tracking)
        assert [frame.index for frame in frames] == list(range(40))
        assert [frame.time for frame in frames] == pytest.approx([n / 10 for n in range(40)])
        assert tracking.source.complete
        assert (tracking.source.info.width, tracking.source.info.height) == (480, 270)
    assert len(places(frames)) == 2
    for frame in frames:
        assert frame.pixels.shape == (270, 480, 3)
        assert frame.timings.keys() == {"decode", "detect", "track", "classify"}
        assert all(value >= 0 for value in frame.timings.values())
        assert frame.dropped == 0


def test_each_face_has_what_was_seen_now_and_what_is_held(
    analyzer: FaceAnalyzer, crossing_video: Path
) -> None:
    for frame in analyzer.track(crossing_video):
        for face in frame.faces:
            assert face.emotion is face.prediction.emotion
            assert face.confidence == face.prediction.confidence
            assert face.smoothed.probabilities.sum() == pytest.approx(1, abs=1e-5)
        assert annotate(frame.pixels, frame.faces).shape == frame.pixels.shape


def test_smoothing_takes_time_and_knows_each_face_alone(analyzer: FaceAnalyzer) -> None:
    frames = list(analyzer.track(crossing(15)))
    firsts = {face.track_id: face for frame in reversed(frames) for face in frame.faces}
    for face in firsts.values():
        expected = pytest.approx(face.prediction.probabilities, abs=1e-6)
        assert face.smoothed.probabilities == expected
    assert any(
        abs(face.smoothed.probabilities - face.prediction.probabilities).max() > 1e-3
        for frame in frames[5:]
        for face in frame.faces
    )


def test_who_leaves_for_long_comes_back_with_a_new_number(analyzer: FaceAnalyzer) -> None:
    walks = [lambda t: (100, 60) if not 1 < t < 4 else None]
    frames = walk_frames(portraits(130)[:1], walks, [n / 5 for n in range(30)], (360, 270))
    seen = places(list(analyzer.track(frames)))
    assert list(seen) == [1, 2]
    assert seen[1][-1][0] <= 1
    assert seen[2][0][0] >= 4


def test_between_searched_frames_faces_move_on(analyzer: FaceAnalyzer) -> None:
    walks = [lambda t: (20 + 60 * t, 60)]
    times = [n / 15 for n in range(45)]
    every_frame = list(analyzer.track(walk_frames(portraits(130)[:1], walks, times, (480, 270))))
    third = walk_frames(portraits(130)[:1], walks, times, (480, 270))
    every_third = list(analyzer.track(third, every=3))
    assert [frame.timings["classify"] > 0 for frame in every_third] == [
        n % 3 == 0 for n in range(45)
    ]
    for dense, sparse in zip(every_frame[15:], every_third[15:], strict=True):
        ((face,), (guess,)) = dense.faces, sparse.faces
        assert guess.track_id == 1
        assert guess.box == pytest.approx(face.box, abs=12)


def test_no_face_is_frames_without_faces(analyzer: FaceAnalyzer) -> None:
    frames = [(np.full((100, 120), 90, np.uint8), n / 10) for n in range(5)]
    assert [frame.faces for frame in analyzer.track(frames)] == [[]] * 5


def test_no_frames_are_no_frames(analyzer: FaceAnalyzer) -> None:
    assert list(analyzer.track([])) == []


@pytest.mark.parametrize(
    ("items", "why"),
    [
        ([np.zeros((9, 9, 3), np.uint8)], "pairs of a frame and its time"),
        ([("a.jpg", 0.0)], "numpy array"),
        ([(np.zeros((9, 9), np.uint8), "now")], "time of frame 0 in seconds"),
        ([(np.zeros((9, 9), np.uint8), float("nan"))], "time of frame 0 in seconds"),
        ([(np.zeros((9, 9), np.uint8), t) for t in (1.0, 0.5)], r"at least 1\.0"),
    ],
)
def test_bad_items_are_input_errors(analyzer: FaceAnalyzer, items: list[Any], why: str) -> None:
    with pytest.raises(InputError, match=why):
        list(analyzer.track(items))


def test_what_an_iterable_raises_is_raised_at_its_place(analyzer: FaceAnalyzer) -> None:
    def items() -> Any:
        yield np.zeros((64, 64), np.uint8), 0.0
        raise OSError("the camera is gone")

    tracking = analyzer.track(items())
    assert next(tracking).index == 0
    with pytest.raises(OSError, match="the camera is gone"):
        next(tracking)


def test_closing_ends_the_threads_and_reading(analyzer: FaceAnalyzer, crossing_video: Path) -> None:
    with analyzer.track(crossing_video) as tracking:
        next(tracking)
    with pytest.raises(ClosedError):
        next(tracking)
    assert analyzer.analyze(np.zeros((64, 64), np.uint8)) == []  # the analyzer stays open


def test_a_loop_that_is_left_ends_the_threads(analyzer: FaceAnalyzer, crossing_video: Path) -> None:
    for frame in analyzer.track(crossing_video):
        if frame.index == 2:
            break
    deadline = threading.Event()
    for _ in range(100):
        if idle() == sum(thread.name == "fer_edge" for thread in threading.enumerate()):
            break
        deadline.wait(0.05)
    else:
        pytest.fail("a thread of ours is still at work")


def test_it_works_in_a_thread(analyzer: FaceAnalyzer, crossing_video: Path) -> None:
    counts: list[int] = []
    worker = threading.Thread(
        target=lambda: counts.append(len(list(analyzer.track(crossing_video))))
    )
    worker.start()
    worker.join(60)
    assert counts == [40]


def test_after_a_source_was_lost_everybody_has_a_new_number(analyzer: FaceAnalyzer) -> None:
    tracking = analyzer.track([])
    pixels, ids = np.zeros((100, 100), np.uint8), []
    for index, session in enumerate((0, 0, 1)):
        frame = Frame(index, index / 10, pixels, session=session)
        tracked = tracking._tracked(_Searched(frame, [Face((10, 10, 50, 50), 0.9)], 0.0))
        ids.append([face.track_id for face in tracked.faces])
    assert ids == [[1], [1], [2]]


def test_frames_that_were_passed_over_are_told_of_the_next_one(analyzer: FaceAnalyzer) -> None:
    tracking = analyzer.track([])
    told = []
    for index, dropped_so_far in enumerate((0, 3, 3, 10)):
        tracking._frames.dropped = dropped_so_far
        frame = Frame(index, index / 10, np.zeros((100, 100), np.uint8))
        told.append(tracking._tracked(_Searched(frame, [], 0.0)).dropped)
    assert told == [0, 3, 0, 7]


def test_a_closed_analyzer_tracks_nothing(model_directory: Path) -> None:
    with Predictor(model_directory) as predictor:
        analyzer = FaceAnalyzer(predictor)
        analyzer.close()
        with pytest.raises(ClosedError):
            analyzer.track([])


def test_after_a_fork_the_child_is_told(analyzer: FaceAnalyzer, crossing_video: Path) -> None:
    tracking = analyzer.track(crossing_video)
    next(tracking)
    assert in_a_child(lambda: next(tracking)).startswith("EngineError: this Tracking was made")
    assert len(list(tracking)) == 39
