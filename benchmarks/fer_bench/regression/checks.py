"""The checks by name: each takes a subject and gives an outcome.

A check raises NotCompared where it has nothing to compare with, and lets errors of fer_edge pass:
an artifact that cannot be opened or run has failed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from fer_bench.regression.artifact_checks import answers, golden, intact, recorded, size
from fer_bench.regression.outcome import Outcome
from fer_bench.regression.picture_checks import accuracy, calibration, recall
from fer_bench.regression.reference_checks import latency, parity
from fer_bench.regression.subject import Subject

__all__ = ["CHECKS", "DATA_CHECKS", "LASTING_CHECKS", "PAIRED_CHECKS", "Check"]

Check: TypeAlias = Callable[[Subject], Outcome]

CHECKS: dict[str, Check] = {
    "intact": intact,
    "recorded": recorded,
    "golden": golden,
    "answers": answers,
    "parity": parity,
    "accuracy": accuracy,
    "recall": recall,
    "calibration": calibration,
    "size": size,
    "latency": latency,
}
"""In the order in which they run."""

DATA_CHECKS = frozenset({"accuracy", "recall", "calibration"})
"""Those that need labelled pictures."""

PAIRED_CHECKS = frozenset({"parity", "latency"})
"""Those that compare with the fp32 reference."""

LASTING_CHECKS = frozenset({"intact", "golden", "parity"})
"""Those that hold of any model: a new baseline has to pass them as well."""
