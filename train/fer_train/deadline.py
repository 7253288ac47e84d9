"""A time by which a training hands back its turn, for machines that are lent by the minute."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["OUT_OF_TIME", "Deadline"]

OUT_OF_TIME = 75
"""Exit code of a command whose time was up with work left: EX_TEMPFAIL of sysexits.h, try again."""


class Deadline:
    """Counts from its making; ``minutes`` None is no limit.

    The first piece of work is always allowed, so that every turn brings the work on, however
    short it is.
    """

    def __init__(
        self, minutes: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._end = math.inf if minutes is None else clock() + 60 * minutes
        self._fresh = True
        self.longest = 0.0
        """Seconds that the longest piece of work took that was ``timed``."""

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Note how long a piece of work takes."""
        started = self._clock()
        yield
        self.longest = max(self.longest, self._clock() - started)

    def allows(self, seconds: float) -> bool:
        """Whether work that takes so many seconds would still end in time."""
        allowed = self._fresh or self._clock() + seconds <= self._end
        self._fresh = False
        return allowed
