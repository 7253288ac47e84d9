"""How far an artifact's answers may be from those of its float32 network."""

from __future__ import annotations

from dataclasses import dataclass

from fer_edge.evaluation.agreement import Agreement


@dataclass(frozen=True)
class Limits:
    """The limits of INT8 unless others are given; None is no limit.

    ``agreement`` is the least share of equal answers. The others are the most: ``mean_kl`` in nats,
    ``max_difference`` of a single probability, ``accuracy_drop`` as a fraction of 1, and
    ``float_share``, the share of layers that may stay in float to keep the others.
    """

    accuracy_drop: float | None = 0.005
    agreement: float = 0.96
    mean_kl: float | None = 0.02
    max_difference: float | None = None
    float_share: float = 0.25

    def defects(self, measured: Agreement, accuracy_drop: float | None) -> list[str]:
        """What does not hold, as phrases; empty if all does. NaN never holds."""
        found = []
        drop, kl, gap = self.accuracy_drop, self.mean_kl, self.max_difference
        if drop is not None and accuracy_drop is not None and not accuracy_drop <= drop:
            found.append(
                f"loses {100 * accuracy_drop:.2f} points of accuracy, allowed are {100 * drop:.2f}"
            )
        if not measured.top1 >= self.agreement:
            found.append(
                f"agrees with float32 on {measured.top1:.2%}, required are {self.agreement:.1%}"
            )
        if kl is not None and not measured.mean_kl <= kl:
            found.append(f"is {measured.mean_kl:.3g} nats away, allowed are {kl:g}")
        if gap is not None and not measured.max_difference <= gap:
            found.append(
                f"changes a probability by {measured.max_difference:.2e}, allowed are {gap:.0e}"
            )
        return found
