"""How far a quantised core is from the float32 one."""

from __future__ import annotations

from dataclasses import dataclass

from fer_calib.crops import Crops
from fer_calib.running import Floats
from fer_edge.evaluation import agreement, metrics

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True)
class Comparison:
    """Against float32, on ``crops`` crops. Rates are fractions of 1, KL is in nats.

    ``accuracy`` is the quantised core's, ``accuracy_drop`` what float32 has more; both are None
    where labels are unknown.
    """

    crops: int
    agreement: float
    mean_kl: float
    max_probability_difference: float
    accuracy: float | None
    accuracy_drop: float | None


def compare(expected: Floats, given: Floats, crops: Crops) -> Comparison:
    """Compare logits ``(N, 7)`` of the two cores on the same crops."""
    temperature = crops.spec.temperature
    p, q = metrics.softmax(expected, temperature), metrics.softmax(given, temperature)
    accuracy = drop = None
    if crops.labels is not None:
        accuracy = float((q.argmax(axis=1) == crops.labels).mean())
        drop = float((p.argmax(axis=1) == crops.labels).mean()) - accuracy
    found = agreement.agreement(p, q)
    return Comparison(
        crops=len(crops),
        agreement=found.top1,
        mean_kl=found.mean_kl,
        max_probability_difference=found.max_difference,
        accuracy=accuracy,
        accuracy_drop=drop,
    )
