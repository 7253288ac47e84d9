"""What a prediction is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_edge.emotion import LABELS, Emotion

__all__ = ["Prediction"]

_EMOTIONS = tuple(Emotion)
_SHAPE = (len(LABELS),)


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class Prediction:
    """The apparent expression of one face.

    ``probabilities`` is float32 ``(7,)``, in the order of ``fer_edge.LABELS``; it becomes
    read-only. Below ``min_confidence``, 0 to 1, the prediction is ``uncertain``.
    """

    probabilities: npt.NDArray[np.float32]
    min_confidence: float = 0.0

    def __post_init__(self) -> None:
        if self.probabilities.shape != _SHAPE:
            raise ValueError(
                f"probabilities should have the shape {_SHAPE}, not {self.probabilities.shape}"
            )
        self.probabilities.setflags(write=False)

    @property
    def emotion(self) -> Emotion:
        """The most probable emotion; little more than a guess where it is ``uncertain``."""
        return _EMOTIONS[int(self.probabilities.argmax())]

    @property
    def confidence(self) -> float:
        """Its probability, 0 to 1."""
        return float(self.probabilities.max())

    @property
    def uncertain(self) -> bool:
        """Whether the confidence is less than the caller wished for."""
        return self.confidence < self.min_confidence

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: ``emotion``, ``confidence``, ``uncertain``, and ``probabilities``
        by name.
        """
        probabilities = dict(zip(LABELS, map(float, self.probabilities), strict=True))
        return {
            "emotion": self.emotion.value,
            "confidence": self.confidence,
            "uncertain": self.uncertain,
            "probabilities": probabilities,
        }

    def __str__(self) -> str:
        text = f"{self.emotion.value} {self.confidence:.0%}"
        return f"uncertain ({text})" if self.uncertain else text

    def __repr__(self) -> str:
        rest = ", ".join(f"{n}={p:.3f}" for n, p in zip(LABELS, self.probabilities, strict=True))
        doubt = "uncertain, " if self.uncertain else ""
        return f"{type(self).__name__}({doubt}{self.emotion.value}: {rest})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Prediction, (self.probabilities, self.min_confidence)
