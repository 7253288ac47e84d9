"""EmotionSmoother, on sequences made for it."""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fer_edge import (
    LABELS,
    ConfigurationError,
    Emotion,
    EmotionSmoother,
    InputError,
    Prediction,
    SmoothedPrediction,
)

HAPPY, SAD, NEUTRAL = (LABELS.index(name) for name in ("happy", "sad", "neutral"))


def shares(strongest: int, share: float = 0.9) -> npt.NDArray[np.float32]:
    """A distribution with ``share`` on one emotion and the rest spread evenly."""
    spread = np.full(len(LABELS), (1 - share) / (len(LABELS) - 1), np.float32)
    spread[strongest] = share
    return spread


def seen(strongest: int, share: float = 0.9) -> Prediction:
    return Prediction(shares(strongest, share))


def fed(
    smoother: EmotionSmoother, classes: Sequence[int], times: Iterable[float]
) -> list[SmoothedPrediction]:
    return [smoother.update(seen(which), time) for which, time in zip(classes, times, strict=True)]


def changes(smoothed: Iterable[Prediction]) -> int:
    return sum(a.emotion is not b.emotion for a, b in pairwise(smoothed))


def test_the_first_prediction_is_taken_as_it_is() -> None:
    first = EmotionSmoother().update(seen(HAPPY), 12.5)
    assert first.probabilities == pytest.approx(shares(HAPPY))
    assert (first.emotion, first.since, first.changed) == (Emotion.HAPPY, 12.5, True)


def test_a_lasting_change_comes_through_as_an_exponential_does() -> None:
    smoother = EmotionSmoother(0.5, hysteresis=0)
    smoother.update(seen(HAPPY, 1.0), 0.0)
    for time in (0.1, 0.25, 0.5, 1.0):
        given = smoother.update(seen(SAD, 1.0), time).probabilities
        assert given[SAD] == pytest.approx(1 - math.exp(-time / 0.5), abs=1e-6)
        assert given[HAPPY] == pytest.approx(math.exp(-time / 0.5), abs=1e-6)


@pytest.mark.parametrize("frames_per_second", [5, 30, 120])
def test_the_frame_rate_does_not_change_how_fast_it_follows(frames_per_second: int) -> None:
    smoother = EmotionSmoother(0.4)
    smoother.update(seen(HAPPY), 0.0)
    for frame in range(1, frames_per_second + 1):
        last = smoother.update(seen(SAD), frame / frames_per_second)
    assert last.probabilities == pytest.approx(
        shares(SAD) + (shares(HAPPY) - shares(SAD)) * math.exp(-1 / 0.4), abs=1e-6
    )


def test_dropped_frames_change_nothing_once_it_was_steady() -> None:
    every, some = EmotionSmoother(), EmotionSmoother()
    times = [frame / 25 for frame in range(20)]
    full = fed(every, [HAPPY] * 1 + [SAD] * 19, times)
    kept = [0, 3, 4, 11, 19]
    part = fed(some, [HAPPY] + [SAD] * 4, [times[frame] for frame in kept])
    for frame, given in zip(kept, part, strict=True):
        assert given.probabilities == pytest.approx(full[frame].probabilities, abs=1e-6)


def test_averages_remain_distributions() -> None:
    rng = np.random.default_rng(0)
    smoother = EmotionSmoother()
    for time in np.cumsum(rng.uniform(0, 0.9, 200)):
        drawn = rng.dirichlet(np.full(len(LABELS), 0.3)).astype(np.float32)
        given = smoother.update(Prediction(drawn), float(time)).probabilities
        assert given.dtype == np.float32
        assert given.min() >= 0
        assert float(given.sum()) == pytest.approx(1, abs=1e-5)


def test_a_single_wrong_frame_does_not_show() -> None:
    smoother = EmotionSmoother()
    times = [frame / 25 for frame in range(50)]
    given = fed(smoother, [NEUTRAL] * 20 + [HAPPY] + [NEUTRAL] * 29, times)
    assert {prediction.emotion for prediction in given} == {Emotion.NEUTRAL}


def test_what_flickers_between_two_is_held() -> None:
    """Noise about a draw: it flickers without hysteresis, and does not with it."""
    rng = np.random.default_rng(1)
    tilts = rng.normal(0, 0.1, 500)
    loose, firm = EmotionSmoother(hysteresis=0), EmotionSmoother()
    raw, averaged, held = [], [], []
    for frame, tilt in enumerate(tilts):
        drawn = np.zeros(len(LABELS), np.float32)
        drawn[[SAD, NEUTRAL]] = np.clip([0.5 + tilt, 0.5 - tilt], 0, 1)
        raw.append(Prediction(drawn))
        averaged.append(loose.update(raw[-1], frame / 25))
        held.append(firm.update(raw[-1], frame / 25))
    assert changes(raw) > changes(averaged) > 20
    assert changes(held) == 0


def test_another_emotion_takes_over_when_it_leads_by_more_than_the_hysteresis() -> None:
    smoother = EmotionSmoother(0, hysteresis=0.2)
    smoother.update(seen(HAPPY), 0)
    for time, (sad, happy), emotion in (
        (1, (0.54, 0.36), Emotion.HAPPY),
        (2, (0.56, 0.34), Emotion.SAD),
        (3, (0.36, 0.54), Emotion.SAD),
        (4, (0.34, 0.56), Emotion.HAPPY),
    ):
        drawn = np.full(len(LABELS), 0.02, np.float32)
        drawn[[SAD, HAPPY]] = sad, happy
        given = smoother.update(Prediction(drawn), time)
        assert given.emotion is emotion
        assert given.confidence == pytest.approx({Emotion.SAD: sad, Emotion.HAPPY: happy}[emotion])


@pytest.mark.parametrize("time_constant", [0, 0.5])
def test_a_second_prediction_for_the_same_moment_changes_nothing(time_constant: float) -> None:
    smoother = EmotionSmoother(time_constant)
    first = smoother.update(seen(HAPPY), 1.0)
    second = smoother.update(seen(SAD), 1.0)
    assert second.emotion is Emotion.HAPPY
    assert np.array_equal(second.probabilities, first.probabilities)


def test_it_tells_when_the_emotion_began() -> None:
    given = fed(EmotionSmoother(0), [HAPPY, HAPPY, SAD, SAD], [1.0, 1.5, 2.0, 2.5])
    assert [prediction.since for prediction in given] == [1.0, 1.0, 2.0, 2.0]
    assert [prediction.changed for prediction in given] == [True, False, True, False]


def test_after_a_gap_the_past_counts_for_nothing() -> None:
    before, after = 10.0, 11.01
    smoother = EmotionSmoother(5.0, gap=1.0)
    smoother.update(seen(HAPPY), before)
    given = smoother.update(seen(SAD), after)
    assert given.probabilities == pytest.approx(shares(SAD))
    assert (given.emotion, given.since, given.changed) == (Emotion.SAD, after, True)


def test_up_to_the_gap_the_past_counts() -> None:
    smoother = EmotionSmoother(5.0, gap=1.0)
    smoother.update(seen(HAPPY), 10.0)
    assert smoother.update(seen(SAD), 11.0).emotion is Emotion.HAPPY


def test_without_a_gap_the_past_always_counts() -> None:
    smoother = EmotionSmoother(1000.0, gap=math.inf)
    smoother.update(seen(HAPPY), 0)
    assert smoother.update(seen(SAD), 100).emotion is Emotion.HAPPY


def test_reset_forgets_and_lets_the_clock_begin_again() -> None:
    smoother = EmotionSmoother(5.0)
    smoother.update(seen(HAPPY), 100.0)
    smoother.reset()
    given = smoother.update(seen(SAD), 0.0)
    assert given.probabilities == pytest.approx(shares(SAD))
    assert given.changed


@pytest.mark.parametrize("time", [2.9, -1.0, math.nan, math.inf, 10**400, "4"])
def test_a_clock_that_goes_back_is_refused_and_changes_nothing(time: Any) -> None:
    smoother = EmotionSmoother()
    smoother.update(seen(HAPPY), 3.0)
    with pytest.raises(InputError, match=r"at least 3\.0, .* not .*; call reset"):
        smoother.update(seen(SAD), time)
    assert smoother.update(seen(HAPPY), 3.1).probabilities == pytest.approx(shares(HAPPY))


def test_probabilities_that_are_none_are_refused_and_change_nothing() -> None:
    smoother = EmotionSmoother()
    smoother.update(seen(HAPPY), 3.0)
    with pytest.raises(InputError, match="finite probabilities"):
        smoother.update(Prediction(np.full(7, np.nan, np.float32)), 3.1)
    assert smoother.update(seen(HAPPY), 3.2).probabilities == pytest.approx(shares(HAPPY))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"time_constant": -0.1}, "time_constant should be 0 or more seconds, not -0.1"),
        ({"time_constant": math.inf}, "time_constant should be"),
        ({"time_constant": math.nan}, "time_constant should be"),
        ({"hysteresis": 1.1}, "hysteresis should be a difference of 0 to 1, not 1.1"),
        ({"hysteresis": math.nan}, "hysteresis should be"),
        ({"gap": 0}, "gap should be more than 0 seconds, not 0"),
        ({"gap": math.nan}, "gap should be"),
        ({"gap": "1"}, "gap should be more than 0 seconds, not '1'"),
        ({"hysteresis": None}, "hysteresis should be"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        EmotionSmoother(**settings)


def test_the_wish_for_confidence_goes_along() -> None:
    smoother = EmotionSmoother(0.5)
    smoother.update(Prediction(shares(HAPPY, 0.9), 0.6), 0)
    assert not smoother.update(Prediction(shares(HAPPY, 0.5), 0.6), 0.1).uncertain
    assert smoother.update(Prediction(shares(SAD, 0.9), 0.6), 0.6).uncertain


def test_it_reads_and_pickles_as_a_prediction_does() -> None:
    smoother = EmotionSmoother(0.5, hysteresis=0.5)
    smoother.update(seen(HAPPY), 0.25)
    given = smoother.update(seen(SAD), 0.75)
    assert isinstance(given, Prediction)
    assert str(given).startswith("happy ")
    assert repr(given).startswith("SmoothedPrediction(happy: ")
    assert given.to_dict()["emotion"] == "happy"
    copied = pickle.loads(pickle.dumps(given))  # noqa: S301
    assert repr(copied) == repr(given)
    assert (copied.since, copied.changed) == (0.25, False)
    assert not copied.probabilities.flags.writeable


def test_its_repr_tells_what_it_holds() -> None:
    smoother = EmotionSmoother(0.25)
    assert repr(smoother) == "<EmotionSmoother over 0.25 s, holds nothing yet>"
    smoother.update(seen(SAD), 0)
    assert repr(smoother) == "<EmotionSmoother over 0.25 s, holds sad>"


def test_an_emotion_that_stays_does_not_begin_anew_without_hysteresis() -> None:
    smoother = EmotionSmoother(hysteresis=0)
    seen = Prediction(np.eye(7, dtype=np.float32)[3])
    given = [smoother.update(seen, time) for time in (0.0, 0.1, 0.2)]
    assert [(one.changed, one.since) for one in given] == [(True, 0.0), (False, 0.0), (False, 0.0)]


def test_a_model_of_other_classes_is_smoothed_with_its_names() -> None:
    smoother, labels = EmotionSmoother(), ("bored", "happy")
    held = smoother.update(Prediction(np.float32([0.8, 0.2]), labels=labels), 0.0)
    assert (held.label, held.emotion, held.labels) == ("bored", None, labels)
    assert "bored" in repr(smoother)


def test_predictions_of_another_model_start_anew() -> None:
    smoother = EmotionSmoother()
    smoother.update(seen(HAPPY), 0.0)
    other = Prediction(np.float32([0.8, 0.2]), labels=("bored", "alert"))
    assert smoother.update(other, 0.1).changed
