"""The time by which a training has to stop, for machines that are lent by the minute."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

OUT_OF_TIME = 75
"""Exit code of a command that ran out of time with work left: EX_TEMPFAIL of sysexits.h."""


class Deadline:
    """A time limit that starts when it is made; ``minutes`` None is no limit.

    The first piece of work is always allowed, so that every call makes progress, however short its
    time is.
    """

    def __init__(
        self, minutes: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._end = math.inf if minutes is None else clock() + 60 * minutes
        self._fresh = True

    def allows(self, seconds: float) -> bool:
        """Tell whether work that takes so many seconds would still end in time."""
        allowed = self._fresh or self._clock() + seconds <= self._end
        self._fresh = False
        return allowed
