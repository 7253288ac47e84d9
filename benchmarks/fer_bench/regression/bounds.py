"""What may change before a build fails, by precision of the artifact."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

__all__ = ["DEFAULT_BOUNDS", "Bounds"]


@dataclass(frozen=True)
class Bounds:
    """The stated bounds; they stand in the baseline file, where a reviewer may change them.

    Against the fp32 reference, on the same pictures in the same run: ``top1_agreement`` at least,
    ``mean_kl`` (nats) and ``max_probability_difference`` at most. ``answer_difference`` bounds
    |Δp| on golden crops and on the recorded answers to probes.

    Against the baseline, fractions of 1: ``accuracy_loss`` and ``recall_loss``, which fail only if
    the exact McNemar test is below ``significance`` as well; ``ece_growth`` is added to the
    recorded ECE; ``kl_growth`` is the factor by which the mean KL to the reference may grow:
    another calibration set of the same kind makes up to 1.4 of it, one scale per tensor in place
    of one per channel 1.7 or more. ``size_growth`` and ``latency_growth`` are the shares by which
    size and the ratio of latencies may.
    """

    top1_agreement: float
    mean_kl: float
    max_probability_difference: float
    answer_difference: float
    accuracy_loss: float = 0.005
    recall_loss: float = 0.05
    significance: float = 0.01
    ece_growth: float = 0.02
    kl_growth: float = 1.5
    size_growth: float = 0.05
    latency_growth: float = 0.5

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(
                    f"{entry.name} should be a finite number of 0 or more, not {value}"
                )


DEFAULT_BOUNDS = {
    "fp32": Bounds(0.998, 1e-6, 1e-3, 1e-3),
    "fp16": Bounds(0.99, 1e-3, 0.05, 0.02),
    "int8": Bounds(0.93, 0.05, 0.6, 0.25),
}
"""What a new baseline starts with."""
