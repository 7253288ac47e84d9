"""What is drawn into a picture."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from fer_edge import LABELS, Prediction
from fer_edge.images.annotation import annotate

Image = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]

PLAIN = 128
UNFILLED = (90, 90, 90)


def prediction(label: str, share: float = 0.9) -> Prediction:
    rest = (1 - share) / (len(LABELS) - 1)
    shares = [share if name == label else rest for name in LABELS]
    return Prediction(np.array(shares, np.float32))


def plain(height: int = 400, width: int = 600) -> Image:
    return np.full((height, width, 3), PLAIN, np.uint8)


def green(image: Image) -> npt.NDArray[np.bool_]:
    blue, greenish, red = image.astype(np.int16).transpose(2, 0, 1)
    return (greenish - blue > 80) & (greenish - red > 80)


def test_the_picture_itself_stays_as_it_is() -> None:
    picture = plain()
    picture.setflags(write=False)
    annotate(picture, [((50, 60, 100, 120), prediction("happy"))])
    assert (picture == PLAIN).all()


def test_without_faces_nothing_is_drawn() -> None:
    assert np.array_equal(annotate(plain(), []), plain())


def test_the_box_is_framed() -> None:
    drawn = green(annotate(plain(), [((50, 60, 100, 120), prediction("happy"))]))
    middle_x, middle_y = 100, 120
    for y, x in ((60, middle_x), (180, middle_x), (middle_y, 50), (middle_y, 150)):
        assert drawn[y, x]


def test_the_face_within_the_box_stays_visible() -> None:
    drawn = annotate(plain(), [((50, 60, 100, 120), prediction("happy"))])
    assert (drawn[65:175, 55:145] == PLAIN).all()


@pytest.mark.parametrize("label", LABELS)
def test_the_longest_bar_is_the_emotions(label: str) -> None:
    box = (20, 40, 100, 120)
    drawn = green(annotate(plain(), [(box, prediction(label))]))
    drawn[:, : box[0] + box[2] + 3] = False
    lengths = drawn.sum(axis=1)
    rows = np.flatnonzero(lengths > lengths.max() / 2)
    other = green(annotate(plain(), [(box, prediction(LABELS[0]))]))
    other[:, : box[0] + box[2] + 3] = False
    first = np.flatnonzero(other.sum(axis=1) > other.sum(axis=1).max() / 2)
    row = round(22 * 400 / 900)
    assert rows.mean() - first.mean() == pytest.approx(row * LABELS.index(label), abs=0.1)


def test_a_bar_is_as_long_as_its_probability() -> None:
    lengths = []
    for share in (0.4, 0.8):
        drawn = green(annotate(plain(900, 900), [((20, 40, 100, 120), prediction("happy", share))]))
        drawn[:, :124] = False
        lengths.append(drawn.sum(axis=1).max())
    assert lengths[1] == pytest.approx(2 * lengths[0], abs=3)


@pytest.mark.parametrize(
    "box",
    [
        pytest.param((0, 0, 60, 60), id="upper left"),
        pytest.param((540, 340, 60, 60), id="lower right"),
        pytest.param((0, 0, 600, 400), id="everything"),
        pytest.param((-30, -30, 80, 80), id="beyond the edge"),
        pytest.param((590, 390, 40, 40), id="beyond the far edge"),
    ],
)
def test_every_emotion_is_shown_wherever_the_face_is(box: Box) -> None:
    drawn = annotate(plain(), [(box, prediction("sad", 0.4))])
    rows = (drawn == UNFILLED).all(axis=2).sum(axis=1) > 15  # lettering has a few such pixels
    starts = np.flatnonzero(np.diff(rows.astype(np.int8), prepend=0) == 1)
    assert len(starts) == len(LABELS)


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (48, 48), (30, 2000), (2000, 30)])
def test_pictures_of_any_size_can_be_drawn_into(size: tuple[int, int]) -> None:
    height, width = size
    drawn = annotate(plain(*size), [((0, 0, width - 1, height - 1), prediction("fear"))])
    assert drawn.shape == (height, width, 3)


def test_every_face_is_drawn() -> None:
    boxes: list[Box] = [(10, 10, 80, 80), (300, 200, 80, 80)]
    drawn = green(annotate(plain(), [(box, prediction("happy")) for box in boxes]))
    assert all(drawn[y, x + 40] for x, y, _, _ in boxes)
