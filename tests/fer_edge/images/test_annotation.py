"""What is drawn into a picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

from fer_edge import LABELS, InputError, Prediction
from fer_edge.images.annotation import annotate, label_color

Image = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]

PLAIN = 128
UNFILLED = (90, 90, 90)


@dataclass
class Shown:
    box: Box
    prediction: Prediction


@dataclass
class Followed(Shown):
    smoothed: Prediction
    track_id: int


def prediction(label: str, share: float = 0.9, labels: tuple[str, ...] = LABELS) -> Prediction:
    rest = (1 - share) / (len(labels) - 1)
    shares = [share if name == label else rest for name in labels]
    return Prediction(np.array(shares, np.float32), labels=labels)


def plain(height: int = 400, width: int = 600) -> Image:
    return np.full((height, width, 3), PLAIN, np.uint8)


def drawn(picture: Image, *boxes: Box, label: str = "happy") -> Image:
    return annotate(picture, [Shown(box, prediction(label)) for box in boxes])


def of_color(image: Image, label: str) -> npt.NDArray[np.bool_]:
    return np.asarray((image == label_color(label, LABELS)[::-1]).all(axis=2))


def inner(box: Box) -> tuple[slice, slice]:
    x, y, width, height = box
    return slice(y + 4, y + height - 4), slice(x + 4, x + width - 4)


def test_the_picture_itself_stays_as_it_is() -> None:
    picture = plain()
    picture.setflags(write=False)
    drawn(picture, (50, 60, 100, 120))
    assert (picture == PLAIN).all()


def test_without_faces_nothing_is_drawn() -> None:
    assert np.array_equal(annotate(plain(), []), plain())


def test_a_gray_picture_gets_colors() -> None:
    assert drawn(np.full((400, 600), PLAIN, np.uint8), (50, 60, 100, 120)).shape == (400, 600, 3)


@pytest.mark.parametrize("label", LABELS)
def test_the_box_has_the_color_of_its_emotion(label: str) -> None:
    colored = of_color(drawn(plain(), (50, 60, 100, 120), label=label), label)
    for y, x in ((60, 100), (179, 100), (120, 50), (120, 149)):
        assert colored[y, x]


def test_every_label_has_a_color_of_its_own() -> None:
    assert len({label_color(label, LABELS) for label in LABELS}) == len(LABELS)
    others = ("calm", "tense", "bored")
    assert len({label_color(label, others) for label in others}) == len(others)


@pytest.mark.parametrize(
    "boxes",
    [
        pytest.param([(0, 0, 100, 100)], id="upper left"),
        pytest.param([(500, 300, 100, 100)], id="lower right"),
        pytest.param([(250, 150, 100, 100)], id="middle"),
        pytest.param([(0, 0, 600, 330)], id="nearly everything"),
        pytest.param(
            [(x, y, 60, 60) for x in range(10, 540, 90) for y in (10, 170, 320)], id="many"
        ),
    ],
)
def test_nothing_covers_a_face(boxes: list[Box]) -> None:
    picture = drawn(plain(), *boxes)
    for box in boxes:
        assert (picture[inner(box)] == PLAIN).all()


def test_one_that_fills_the_picture_has_its_label_at_the_lower_end() -> None:
    picture = drawn(plain(), (0, 0, 600, 400))
    assert (picture[4:360, 4:596] == PLAIN).all()
    assert (picture[370:396, 10:50] != PLAIN).any()


def bars(picture: Image) -> list[tuple[int, int]]:
    """First row and number of pixels that are not filled, of each bar."""
    rows = (picture == UNFILLED).all(axis=2)
    counts = rows.sum(axis=1) * (rows.sum(axis=1) > 4)
    starts = np.flatnonzero(np.diff((counts > 0).astype(int), prepend=0) == 1)
    return [(int(start), int(counts[start])) for start in starts]


def test_each_probability_has_a_bar_of_its_length() -> None:
    shares = np.array([0.5, 0.25, 0.125, 0.0625, 0.03, 0.02, 0.0125], np.float32)
    picture = annotate(plain(600, 900), [Shown((20, 40, 100, 120), Prediction(shares))])
    unfilled = [count for _, count in bars(picture)]
    assert len(unfilled) == len(LABELS)
    for count, share in zip(unfilled, shares, strict=True):
        assert count == pytest.approx(81 * (1 - share), abs=1.5)


def test_two_or_nine_classes_have_as_many_bars() -> None:
    for labels in (("calm", "tense"), tuple(f"class {n}" for n in range(9))):
        face = Shown((20, 40, 100, 120), prediction(labels[1], 0.6, labels))
        assert len(bars(annotate(plain(600, 900), [face]))) == len(labels)


def test_of_a_followed_face_the_smoothed_emotion_is_drawn() -> None:
    face = Followed((50, 60, 100, 120), prediction("sad"), prediction("happy"), 3)
    other = Shown((50, 60, 100, 120), prediction("happy"))
    followed, alone = (annotate(plain(), [face]) for face in (face, other))
    assert of_color(followed, "happy")[60, 100]
    assert not np.array_equal(followed, alone)  # its number stands beside


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (48, 48), (30, 2000), (2000, 30)])
def test_pictures_of_any_size_can_be_drawn_into(size: tuple[int, int]) -> None:
    height, width = size
    assert drawn(plain(*size), (0, 0, width, height), label="fear").shape == (height, width, 3)


@pytest.mark.parametrize("box", [(-30, -30, 80, 80), (590, 390, 40, 40), (700, 500, 40, 40)])
def test_a_box_beyond_the_edge_can_be_drawn(box: Box) -> None:
    assert not np.array_equal(drawn(plain(), box), plain())


def test_text_grows_with_the_picture() -> None:
    heights = []
    for scale in (1, 4):
        picture = drawn(plain(400 * scale, 600 * scale), (50, 60, 100 * scale, 120 * scale))
        heights.append(np.diff([first for first, _ in bars(picture)]).mean())
    assert heights[1] == pytest.approx(4 * heights[0], rel=0.1)


def test_a_gray_frame_with_an_axis_for_it_becomes_color() -> None:
    assert annotate(np.zeros((60, 60, 1), np.uint8), []).shape == (60, 60, 3)


@pytest.mark.parametrize("frame", [None, np.zeros((60, 60, 3)), np.zeros((60, 60, 4), np.uint8)])
def test_what_is_no_frame_is_refused(frame: Image) -> None:
    with pytest.raises(InputError, match="expected"):
        annotate(frame, [])
