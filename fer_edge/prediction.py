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


@dataclass(frozen=True, eq=False)
class Prediction:
    """The apparent expression of one face.

    ``probabilities`` is float32 ``(7,)``, in the order of ``fer_edge.LABELS``; it becomes
    read-only.
    """

    __slots__ = ("probabilities",)

    probabilities: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.probabilities.shape != _SHAPE:
            raise ValueError(
                f"probabilities should have the shape {_SHAPE}, not {self.probabilities.shape}"
            )
        self.probabilities.setflags(write=False)

    @property
    def emotion(self) -> Emotion:
        """The most probable emotion."""
        return _EMOTIONS[int(self.probabilities.argmax())]

    @property
    def confidence(self) -> float:
        """Its probability, 0 to 1."""
        return float(self.probabilities.max())

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: ``emotion``, ``confidence`` and ``probabilities`` by name."""
        probabilities = dict(zip(LABELS, map(float, self.probabilities), strict=True))
        return {
            "emotion": self.emotion.value,
            "confidence": self.confidence,
            "probabilities": probabilities,
        }

    def __str__(self) -> str:
        return f"{self.emotion.value} {self.confidence:.0%}"

    def __repr__(self) -> str:
        rest = ", ".join(f"{n}={p:.3f}" for n, p in zip(LABELS, self.probabilities, strict=True))
        return f"Prediction({self.emotion.value}: {rest})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Prediction, (self.probabilities,)
