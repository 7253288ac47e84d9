"""Steady emotions for the faces of a video."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fer_edge.arguments import real_number
from fer_edge.emotion import LABELS
from fer_edge.errors import InputError
from fer_edge.prediction import Prediction


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class SmoothedPrediction(Prediction):
    """What one face shows, over time.

    ``probabilities`` are averaged, and ``emotion`` is the one that is held, which need not be the
    most probable at this moment; ``confidence`` is its probability. ``since`` is the time at which
    it began, in the seconds of the caller's clock; ``changed`` says that it began just now.
    """

    held: int = 0
    since: float = 0.0
    changed: bool = False

    @property
    def label(self) -> str:
        """The name of the class that is held."""
        return self.labels[self.held]

    @property
    def confidence(self) -> float:
        """Its probability, 0 to 1."""
        return float(self.probabilities[self.held])


class EmotionSmoother:
    """Averages the predictions of one face over time, and holds its emotion until another one is
    clearly stronger. Make one smoother for each face, and use it from one thread.

    The average is exponential in real time, so neither dropped frames nor another frame rate change
    how fast it follows: ``p += (1 - exp(-dt / time_constant)) * (x - p)`` (Eckner,
    "Algorithms for Unevenly Spaced Time Series: Moving Averages and Other Rolling Operators",
    2012, the exponential average of next-point interpolation).

    Parameters
    ----------
    time_constant
        Seconds after which a lasting change has come through to 63 %; 0 does not average.
    hysteresis
        How much more probable than the held emotion another has to be to take its place, 0 to 1.
    gap
        Seconds without a prediction after which the past counts for nothing, as the face may be
        another's by then; ``math.inf`` for never.

    Raises ConfigurationError for settings outside of these ranges.
    """

    def __init__(
        self, time_constant: float = 0.5, *, hysteresis: float = 0.1, gap: float = 1.0
    ) -> None:
        self._time_constant = real_number(
            "time_constant", time_constant, "0 or more seconds", lambda it: 0 <= it < math.inf
        )
        self._hysteresis = real_number(
            "hysteresis", hysteresis, "a difference of 0 to 1", lambda it: 0 <= it <= 1
        )
        self._gap = real_number("gap", gap, "more than 0 seconds", lambda it: it > 0)
        self._average: npt.NDArray[np.float64] | None = None
        self._last = -math.inf
        self._held, self._labels = 0, LABELS
        self._since = 0.0

    def update(self, prediction: Prediction, time: float) -> SmoothedPrediction:
        """Take in what was seen at ``time``, in seconds of any clock that does not go back.

        A second prediction for the same moment carries no time and changes nothing. Raises
        InputError for a time before the last one, or that is no number, and for probabilities that
        are none.
        """
        if not (_is_finite(time) and time >= self._last):
            raise InputError(
                f"expected a time in seconds of at least {self._last}, that of the last "
                f"prediction, not {time!r:.40}; call reset where a video starts anew"
            )
        if not np.isfinite(prediction.probabilities).all():
            raise InputError("expected finite probabilities; this prediction holds NaN or Inf")
        elapsed, self._last = time - self._last, time
        if self._average is None or elapsed > self._gap or prediction.labels != self._labels:
            self._labels = prediction.labels
            average = prediction.probabilities.astype(np.float64)
            changed = True
        else:
            seen = prediction.probabilities - self._average
            average = self._average + self._weight(elapsed) * seen
            changed = bool(average.max() - average[self._held] > self._hysteresis)
        self._average = average
        if changed:
            self._held, self._since = int(average.argmax()), time
        return SmoothedPrediction(
            average.astype(np.float32),
            prediction.min_confidence,
            prediction.labels,
            held=self._held,
            since=self._since,
            changed=changed,
        )

    def reset(self) -> None:
        """Forget the past, as for another face or a video that starts anew."""
        self._average, self._last = None, -math.inf

    def __repr__(self) -> str:
        held = "nothing yet" if self._average is None else self._labels[self._held]
        return f"<EmotionSmoother over {self._time_constant} s, holds {held}>"

    def _weight(self, elapsed: float) -> float:
        """The part of the average that what was seen now makes up."""
        if self._time_constant == 0:
            return 1.0 if elapsed > 0 else 0.0
        return -math.expm1(-elapsed / self._time_constant)


def _is_finite(time: object) -> bool:
    try:
        return math.isfinite(time)  # type: ignore[arg-type]
    except (OverflowError, TypeError, ValueError):  # an int beyond floats; no number at all
        return False
