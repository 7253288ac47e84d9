"""What a process holds, and how long its calls take, in records that do not grow."""

from __future__ import annotations

import ctypes
import math
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from fer_bench.protocol import resident_bytes
from fer_edge.system import threads

_PROC = Path("/proc/self")
_SHORTEST_S, _STEP = 1e-9, math.log(1.01)
_LOOKS, _PAUSE_S = 5, 0.05


@dataclass(frozen=True)
class Holdings:
    """Resident memory in bytes, open file handles, and threads.

    Threads that wait for the next stream do not count: the package keeps as many of them as streams
    ran side by side within the last minute.
    """

    memory: int
    handles: int
    threads: int


def observe() -> Holdings:
    """Read from Linux what this process holds while nobody calls.

    It is read a few times, and the fewest handles and threads count, because a thread that has
    finished its work is not idle at once.
    """
    handles, running = [], []
    for _ in range(_LOOKS):
        time.sleep(_PAUSE_S)
        handles.append(len(os.listdir(_PROC / "fd")) - 1)  # the listing itself holds one
        running.append(len(os.listdir(_PROC / "task")) - threads.idle())
    return Holdings(resident_memory(), min(handles), min(running))


def resident_memory() -> int:
    """Resident memory in bytes, after glibc has returned what is free.

    Without malloc_trim, how much free memory glibc keeps depends on the thread that freed it, and
    that would hide a leak.
    """
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
    return resident_bytes()


@dataclass(eq=False)
class Window:
    """A part of the run: how long single calls took, and samples of resident memory in bytes.

    Times are counted in steps of one percent, so that this record does not grow with the calls.
    """

    times: Counter[int] = field(default_factory=Counter)
    samples: list[int] = field(default_factory=list)

    def add(self, seconds: float) -> None:
        """Count one call."""
        self.times[math.ceil(math.log(max(seconds, _SHORTEST_S)) / _STEP)] += 1

    def quantile(self, share: float) -> float:
        """Upper end, in seconds, of the step that holds the quantile; 0 without calls."""
        left = math.ceil(share * sum(self.times.values()))
        for step in sorted(self.times):
            left -= self.times[step]
            if left <= 0:
                return math.exp(step * _STEP)
        return 0.0

    @property
    def memory(self) -> float:
        """Median of the samples."""
        return median(self.samples)
