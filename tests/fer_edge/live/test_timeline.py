"""The picture of who showed what, when."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from fer_edge import LABELS, Prediction, SmoothedPrediction
from fer_edge.images.annotation import label_color
from fer_edge.live import timeline as module
from fer_edge.live.timeline import Timeline
from fer_edge.live.tracking import TrackedFace, TrackedFrame

Image = npt.NDArray[np.uint8]
ROW = module._ROW
TOP = module._HEADER + module._STRIP_TOP
LEFT, WIDTH, HEIGHT = module._STRIP_LEFT, module._STRIP_WIDTH, module._STRIP_HEIGHT


def face(number: int, label: str, share: float = 0.75) -> TrackedFace:
    rest = (1 - share) / (len(LABELS) - 1)
    shares = np.array([share if name == label else rest for name in LABELS], np.float32)
    smoothed = SmoothedPrediction(shares, held=LABELS.index(label))
    return TrackedFace((10, 10, 40, 40), 0.9, Prediction(shares), number, smoothed)


def drawn(seconds: float, *stays: tuple[int, str, float, float], fps: float = 10) -> Image:
    """A picture of stays: number, emotion, from, to."""
    timeline = Timeline(LABELS, "talk.mp4")
    for index in range(round(seconds * fps)):
        time = index / fps
        faces = [face(n, label) for n, label, start, end in stays if start <= time < end]
        pixels = np.full((80, 80, 3), 200, np.uint8)
        timeline.add(TrackedFrame(index, time, pixels, faces, {}, 0))
    return timeline.draw()


def filled(picture: Image, row: int, label: str, share: float) -> npt.NDArray[np.bool_]:
    """Where along the strip of a row the bars of an emotion reach that high."""
    y = TOP + row * ROW + round(HEIGHT * (1 - share))
    line = picture[y, LEFT : LEFT + WIDTH]
    return np.asarray((line == label_color(label, LABELS)[::-1]).all(axis=1))


def test_each_person_has_a_row_with_its_emotions_in_their_time() -> None:
    picture = drawn(10, (1, "happy", 0, 5), (1, "sad", 5, 10), (2, "angry", 2, 8))
    happy, sad = (filled(picture, 0, label, 0.5) for label in ("happy", "sad"))
    assert happy[: WIDTH // 2 - 20].all()
    assert sad[WIDTH // 2 + 20 : -20].all()
    angry = filled(picture, 1, "angry", 0.5)
    assert angry[round(0.21 * WIDTH) : round(0.79 * WIDTH)].all()
    assert not angry[: round(0.18 * WIDTH)].any()
    assert not angry[round(0.85 * WIDTH) :].any()


def test_an_absence_is_a_gap() -> None:
    happy = filled(drawn(10, (1, "happy", 0, 3), (1, "happy", 6, 10)), 0, "happy", 0.5)
    assert not happy[round(0.35 * WIDTH) : round(0.59 * WIDTH)].any()
    assert happy[: round(0.29 * WIDTH)].all()
    assert happy[round(0.61 * WIDTH) : -20].all()


def test_bars_are_as_high_as_the_probability() -> None:
    picture = drawn(4, (1, "fear", 0, 4))
    assert filled(picture, 0, "fear", 0.70).mean() > 0.9
    assert filled(picture, 0, "fear", 0.80).mean() == 0


def test_a_picture_stands_for_who_it_is() -> None:
    picture = drawn(2, (7, "happy", 0, 2))
    y = module._HEADER + (ROW - module._THUMBNAIL) // 2
    thumbnail = picture[y : y + module._THUMBNAIL, module._MARGIN : LEFT][:, : module._THUMBNAIL]
    assert (thumbnail == 200).all()


def test_without_faces_it_says_so_and_with_many_it_keeps_the_longest() -> None:
    assert drawn(2).shape[0] == module._HEADER + ROW + module._FOOTER
    many = drawn(4, *[(number, "happy", 0, 1 + 0.05 * number) for number in range(1, 41)])
    assert many.shape[0] == module._HEADER + 30 * ROW + module._FOOTER


def test_a_day_of_video_is_remembered_in_few_samples() -> None:
    timeline = Timeline(LABELS, "day.mp4")
    pixels = np.zeros((80, 80), np.uint8)
    for index in range(30_000):
        shown = [face(1, "happy" if index < 15_000 else "sad")]
        timeline.add(TrackedFrame(index, index * 2.88, pixels, shown, {}, 0))
    person = timeline._people[1]
    assert len(person.times) <= 4097
    picture = timeline.draw()
    assert filled(picture, 0, "happy", 0.5)[: WIDTH // 2 - 20].all()
    assert filled(picture, 0, "sad", 0.5)[WIDTH // 2 + 20 : -20].all()


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0:00"), (2.5, "0:02.5"), (61, "1:01"), (3600, "1:00:00"), (3725.4, "1:02:05")],
)
def test_times_are_told_as_on_a_clock(seconds: float, told: str) -> None:
    assert module._clock(seconds) == told
