"""How long calls take."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter


def call_times(
    call: Callable[[], object], *, fewest: int = 1, most: int | None = None, seconds: float = 0.0
) -> list[float]:
    """Seconds that each call took, called again until ``seconds`` have passed.

    At least ``fewest`` calls are made, and ``most`` at most.
    """
    taken: list[float] = []
    end = perf_counter() + seconds
    while most is None or len(taken) < most:
        start = perf_counter()
        if len(taken) >= fewest and start >= end:
            break
        call()
        taken.append(perf_counter() - start)
    return taken
