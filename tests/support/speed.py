"""Bounds on time that hold on a machine which others use too."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["comes_below"]


def comes_below(bound: float, measure: Callable[[], float], tries: int = 20) -> bool:
    """Measure until it is below the bound: what disturbs a measurement only adds to it."""
    for _ in range(tries):
        if measure() < bound:
            return True
        time.sleep(0.25)
    return False
