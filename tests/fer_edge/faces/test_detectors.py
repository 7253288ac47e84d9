"""How a detection becomes FER2013's square."""

from __future__ import annotations

import pytest

from fer_edge.faces.detectors import Detection, Framing


def test_a_square_is_the_box_converted_by_its_framing() -> None:
    framing = Framing(side=1.5, right=0.1, down=-0.2)
    detection = Detection((10.0, 20.0, 40.0, 60.0), (50.0, 70.0), 1.0, framing)
    left, top, side = detection.square
    assert side == pytest.approx(1.5 * 40)
    # the anchor lies right and down of the square's centre
    assert 50 - (left + side / 2) == pytest.approx(0.1 * side)
    assert 70 - (top + side / 2) == pytest.approx(-0.2 * side)
