"""YuNet on ONNX Runtime against OpenCV's own decoding of it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from fer_edge.faces import yunet as module
from fer_edge.faces.yunet import YUNET_FILE, Yunet

Frame = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def crowd(portrait: Path) -> Frame:
    """Eight faces of many sizes, some turned, some mirrored, some that overlap."""
    one = cv2.imread(str(portrait))[0:256, 96:352]
    canvas = np.full((720, 1280, 3), 100, np.uint8)
    places = [(0, 0, 256), (300, 20, 180), (520, 0, 120), (660, 30, 90), (800, 0, 330)]
    places += [(40, 300, 400), (480, 380, 300), (700, 400, 260)]
    for number, (x, y, side) in enumerate(places):
        face = cv2.resize(one[:, ::-1] if number % 2 else one, (side, side))
        turn = cv2.getRotationMatrix2D((side / 2, side / 2), 12 * (number % 3 - 1), 1)
        face = cv2.warpAffine(face, turn, (side, side), borderMode=cv2.BORDER_REPLICATE)
        canvas[y : y + side, x : x + side] = face
    return canvas


@pytest.mark.parametrize(
    "size", [(1280, 720), (640, 360), (320, 256), (333, 517), (641, 95), (2000, 1125)]
)
@pytest.mark.parametrize("min_score", [0.3, 0.7])
def test_finds_what_opencv_finds_to_a_thousandth_of_a_pixel(
    crowd: Frame, size: tuple[int, int], min_score: float
) -> None:
    maker = getattr(cv2, "FaceDetectorYN", None)
    if maker is None:
        pytest.skip(f"OpenCV {cv2.__version__} has no FaceDetectorYN")
    frame = np.asarray(cv2.resize(crowd, size, interpolation=cv2.INTER_AREA), np.uint8)
    reference = maker.create(str(YUNET_FILE), "", size, min_score, 0.3, 5000)
    rows = reference.detect(frame)[1]
    expected = np.zeros((0, 15)) if rows is None else rows.astype(float)
    found = Yunet().find(frame, 1, min_score)
    assert len(found) == len(expected)
    anchors = expected[:, 4:14].reshape(-1, 5, 2).mean(axis=1)
    for ours, row, anchor in zip(found, expected, anchors, strict=True):
        assert ours.box == pytest.approx(row[:4], abs=1e-3)
        assert ours.anchor == pytest.approx(anchor, abs=1e-3)
        assert ours.score == pytest.approx(row[14], abs=1e-5)
    if size == (1280, 720):
        assert len(found) >= 6


def test_gray_is_three_equal_channels(crowd: Frame) -> None:
    gray = np.asarray(cv2.cvtColor(crowd, cv2.COLOR_BGR2GRAY), np.uint8)
    yunet = Yunet()
    assert yunet.find(gray, 1) == yunet.find(np.dstack([gray] * 3), 1)
    assert yunet.find(gray, 1)


def test_what_is_no_number_is_left_out() -> None:
    cells = {8: 96, 16: 24, 32: 6}  # of 96 x 64 pixels
    outputs = [np.ones((1, cells[s], 1), np.float32) for _ in range(2) for s in (8, 16, 32)]
    outputs += [np.full((1, cells[s], 4), np.nan, np.float32) for s in (8, 16, 32)]
    outputs += [np.zeros((1, cells[s], 10), np.float32) for s in (8, 16, 32)]
    boxes, _, scores = module._decode(outputs, 96, 0.5)
    assert (len(boxes), len(scores)) == (0, 0)


def test_a_box_that_overlaps_a_better_one_is_left_out() -> None:
    boxes = np.array([[0, 0, 10, 10], [2, 0, 10, 10], [8, 0, 10, 10], [40, 0, 5, 5]], np.float32)
    assert module._distinct(boxes) == [0, 2, 3]
