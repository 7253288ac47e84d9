"""How a detection becomes FER2013's square."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import numpy as np
import pytest
from forked import in_a_child

from fer_edge.errors import ConfigurationError, EngineError
from fer_edge.faces.detectors import Detection, Detector, Framing, Haar
from fer_edge.faces.yunet import Yunet


def test_a_square_is_the_box_converted_by_its_framing() -> None:
    framing = Framing(side=1.5, right=0.1, down=-0.2)
    detection = Detection((10.0, 20.0, 40.0, 60.0), (50.0, 70.0), 1.0, framing)
    left, top, side = detection.square
    assert side == pytest.approx(1.5 * 40)
    # the anchor lies right and down of the square's centre
    assert 50 - (left + side / 2) == pytest.approx(0.1 * side)
    assert 70 - (top + side / 2) == pytest.approx(-0.2 * side)


@pytest.fixture(params=[Yunet, Haar])
def detector(request: pytest.FixtureRequest) -> Detector:
    try:
        made: Detector = request.param()
    except EngineError as problem:
        pytest.skip(str(problem))
    return made


def test_in_a_child_of_fork_a_detector_is_an_error(detector: Detector) -> None:
    outcome = in_a_child(lambda: detector.find(np.zeros((64, 64, 3), np.uint8), 24))
    assert outcome.startswith(f"EngineError: this {type(detector).__name__} was made before")


@pytest.mark.parametrize("act", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_detector_is_neither_copied_nor_pickled(
    detector: Detector, act: Callable[[object], object]
) -> None:
    with pytest.raises(ConfigurationError, match="cannot be pickled or copied; make one in each"):
        act(detector)
