"""The emotions that models of ours know, and FER2013's seven in their order."""

from __future__ import annotations

from enum import Enum


class Emotion(str, Enum):
    """An apparent expression: FER2013's seven, in the order of their outputs, and contempt.

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
    CONTEMPT = "contempt"

    def __str__(self) -> str:
        return self.value

    @property
    def class_index(self) -> int:
        """Position in the outputs of a model of the seven, 0 to 6; contempt, beside them, is 7."""
        return tuple(Emotion).index(self)


LABELS: tuple[str, ...] = tuple(e.value for e in Emotion if e is not Emotion.CONTEMPT)
"""FER2013's seven names: the outputs of a model, unless its spec has other labels."""
