"""A face that was found, and what was read from it."""

from __future__ import annotations

from dataclasses import dataclass

from fer_edge.emotion import Emotion
from fer_edge.prediction import Prediction

__all__ = ["AnalyzedFace"]


@dataclass(frozen=True, slots=True)
class AnalyzedFace:
    """One face of a picture and its apparent expression.

    ``box`` is (x, y, width, height) in pixels, the upper left corner first, within the picture.
    ``score`` is how sure the detector is, in its own scale (`Face`).
    """

    box: tuple[int, int, int, int]
    score: float
    prediction: Prediction

    @property
    def label(self) -> str:
        """The name of the most probable class."""
        return self.prediction.label

    @property
    def emotion(self) -> Emotion | None:
        """``label`` as an Emotion; None if the model's class is none of those."""
        return self.prediction.emotion

    @property
    def confidence(self) -> float:
        """Its probability, 0 to 1."""
        return self.prediction.confidence
