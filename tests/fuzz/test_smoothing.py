"""Any times and probabilities: a smoothed prediction, or an error of ours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fer_edge import EmotionSmoother, InputError
from fer_edge.prediction import Prediction
from fer_edge.smoothing import SmoothedPrediction

FUZZ = settings(settings.get_profile("fuzz"))
TIMES = st.one_of(st.floats(), st.floats(0, 5), st.integers(-(2**70), 2**70))
SCORES = hnp.arrays(np.float32, 7, elements=st.floats(0, 1, width=32))
ANYTHING = hnp.arrays(np.float32, 7, elements=st.floats(width=32))


@FUZZ
@given(st.floats(), st.floats(), st.floats())
def test_any_settings_make_a_smoother_or_are_refused(
    survive: Any, constant: float, hysteresis: float, gap: float
) -> None:
    survive(EmotionSmoother, constant, hysteresis=hysteresis, gap=gap)


@FUZZ
@given(
    st.lists(st.tuples(TIMES, SCORES), max_size=8),
    st.sampled_from([0.0, 5e-324, 0.5, 1e308]),
    st.sampled_from([5e-324, 1.0, np.inf]),
)
def test_any_times_are_smoothed_or_refused(
    survive: Any, seen: list[tuple[float, np.ndarray]], constant: float, gap: float
) -> None:
    smoother, last = EmotionSmoother(constant, gap=gap), -np.inf
    for time, scores in seen:
        found = survive(smoother.update, Prediction(scores), time)
        if isinstance(found, SmoothedPrediction):
            assert time >= last
            assert ((found.probabilities >= 0) & (found.probabilities <= 1)).all()
            assert found.since <= time
            last = time
        else:
            assert isinstance(found, InputError)


@FUZZ
@given(st.lists(ANYTHING, min_size=1, max_size=4))
def test_numbers_that_are_no_probabilities_are_forgotten_with_the_past(
    survive: Any, seen: list[np.ndarray]
) -> None:
    smoother, sure = EmotionSmoother(), np.eye(7, dtype=np.float32)[3]
    with np.errstate(all="ignore"):
        for moment, scores in enumerate(seen):
            survive(smoother.update, Prediction(scores), moment / 10)
    smoother.reset()
    assert smoother.update(Prediction(sure), 9.0).confidence == pytest.approx(1)
