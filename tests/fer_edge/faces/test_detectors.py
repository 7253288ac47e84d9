"""What the detectors make of OpenCV's answers."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import create_autospec

import cv2
import numpy as np
import pytest

from fer_edge.faces.detectors import Detection, Framing, Yunet


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> object:
    """YuNet's network in OpenCV, finding nothing until told otherwise."""
    kind = create_autospec(cv2.FaceDetectorYN, spec_set=True)
    network = create_autospec(cv2.FaceDetectorYN, instance=True, spec_set=True)
    network.detect.return_value = (1, None)
    kind.create.return_value = network
    monkeypatch.setattr(cv2, "FaceDetectorYN", kind)
    return network


@pytest.fixture
def yunet(network: object, tmp_path: Path) -> Yunet:
    path = tmp_path / "face.onnx"
    path.write_bytes(b"")
    return Yunet(path)


def test_a_square_is_the_box_converted_by_its_framing() -> None:
    framing = Framing(side=1.5, right=0.1, down=-0.2)
    detection = Detection((10.0, 20.0, 40.0, 60.0), (50.0, 70.0), 1.0, framing)
    left, top, side = detection.square
    assert side == pytest.approx(1.5 * 40)
    # the anchor lies right and down of the square's centre
    assert 50 - (left + side / 2) == pytest.approx(0.1 * side)
    assert 70 - (top + side / 2) == pytest.approx(-0.2 * side)


def test_yunet_is_anchored_at_the_mean_of_its_landmarks(yunet: Yunet, network: object) -> None:
    landmarks = (30, 40, 50, 40, 40, 50, 32, 60, 48, 60)
    row = np.array([[20, 10, 40, 60, *landmarks, 0.9]], np.float32)
    network.detect.return_value = (1, row)  # type: ignore[attr-defined]
    (found,) = yunet.find(np.zeros((100, 100, 3), np.uint8), 1)
    assert found.box == (20, 10, 40, 60)
    assert found.anchor == (40, 50)
    assert found.score == pytest.approx(0.9)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_yunet_leaves_out_what_is_no_number(yunet: Yunet, network: object, value: float) -> None:
    row = np.full((1, 15), value, np.float32)
    network.detect.return_value = (1, row)  # type: ignore[attr-defined]
    assert yunet.find(np.zeros((100, 100, 3), np.uint8), 1) == []


@pytest.mark.parametrize("shape", [(1, 1), (10, 200, 3), (200, 10), (64, 64, 3), (100, 130, 3)])
def test_yunet_never_sees_less_than_64_pixels(
    yunet: Yunet, network: object, shape: tuple[int, ...]
) -> None:
    # below that OpenCV 4.14 finds faces in memory that nobody wrote
    yunet.find(np.full(shape, 9, np.uint8), 1)
    (seen,) = network.detect.call_args.args  # type: ignore[attr-defined]
    height, width = max(shape[0], 64), max(shape[1], 64)
    assert seen.shape == (height, width, 3)
    assert (seen[: shape[0], : shape[1]] == 9).all()
    assert seen.sum() == 9 * shape[0] * shape[1] * 3
    network.setInputSize.assert_called_with((width, height))  # type: ignore[attr-defined]
