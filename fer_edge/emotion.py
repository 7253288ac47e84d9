"""The seven emotions, in the order of FER2013."""

from __future__ import annotations

from enum import Enum

__all__ = ["LABELS", "Emotion"]


class Emotion(str, Enum):
    """An apparent expression; the order of the members is the order of every output.

    A member is its own name in lower case: ``Emotion("happy") is Emotion.HAPPY`` and
    ``Emotion.HAPPY == "happy"``.
    """

    ANGRY = "angry"
    DISGUST = "disgust"
    FEAR = "fear"
    HAPPY = "happy"
    SAD = "sad"
    SURPRISE = "surprise"
    NEUTRAL = "neutral"

    def __str__(self) -> str:
        return self.value

    @property
    def class_index(self) -> int:
        """Position in the outputs, 0 to 6."""
        return LABELS.index(self.value)


LABELS: tuple[str, ...] = tuple(emotion.value for emotion in Emotion)
"""The seven names in the order of every output."""
