"""What a prediction is."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_edge.emotion import LABELS, Emotion

_EMOTIONS = {emotion.value: emotion for emotion in Emotion}


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class Prediction:
    """The apparent expression of one face.

    ``probabilities`` is float32 ``(K,)``, in the order of ``labels``, which are the names of the
    model's K classes; it becomes read-only. Below ``min_confidence``, 0 to 1, the prediction is
    ``uncertain``.
    """

    probabilities: npt.NDArray[np.float32]
    min_confidence: float = 0.0
    labels: tuple[str, ...] = LABELS

    def __post_init__(self) -> None:
        if self.probabilities.shape != (len(self.labels),):
            raise ValueError(
                f"probabilities should have the shape ({len(self.labels)},), "
                f"not {self.probabilities.shape}"
            )
        self.probabilities.setflags(write=False)

    @property
    def label(self) -> str:
        """The name of the most probable class; little more than a guess if ``uncertain``."""
        return self.labels[int(self.probabilities.argmax())]

    @property
    def emotion(self) -> Emotion | None:
        """``label`` as an Emotion; None if the model's class is none of those."""
        return _EMOTIONS.get(self.label)

    @property
    def confidence(self) -> float:
        """Its probability, 0 to 1."""
        return float(self.probabilities.max())

    @property
    def uncertain(self) -> bool:
        """Whether the confidence is below ``min_confidence``."""
        return self.confidence < self.min_confidence

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: ``emotion`` (the label), ``confidence``, ``uncertain``, and
        ``probabilities`` by name.
        """
        probabilities = dict(zip(self.labels, map(float, self.probabilities), strict=True))
        return {
            "emotion": self.label,
            "confidence": self.confidence,
            "uncertain": self.uncertain,
            "probabilities": probabilities,
        }

    def __str__(self) -> str:
        text = f"{self.label} {self.confidence:.0%}"
        return f"uncertain ({text})" if self.uncertain else text

    def __repr__(self) -> str:
        pairs = zip(self.labels, self.probabilities, strict=True)
        rest = ", ".join(f"{name}={share:.3f}" for name, share in pairs)
        doubt = "uncertain, " if self.uncertain else ""
        return f"{type(self).__name__}({doubt}{self.label}: {rest})"

    def __reduce__(self) -> tuple[Any, ...]:
        # a restored array could be written to again; the constructor forbids that
        return type(self), tuple(getattr(self, field.name) for field in fields(self))
