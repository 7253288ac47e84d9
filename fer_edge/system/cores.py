"""How many threads a device that has other work to do can spare."""

from __future__ import annotations

import math
import os
from pathlib import Path

__all__ = ["default_threads", "usable_cores"]

_QUOTA_V2 = Path("/sys/fs/cgroup/cpu.max")
_QUOTA_V1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
_PERIOD_V1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")
_MOST_THREADS = 4


def usable_cores() -> int:
    """Cores that this process may use: its affinity, and the quota of its container."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota = _container_quota()
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def default_threads() -> int:
    """Threads of an engine when nobody says otherwise: half of the usable cores, 1 to 4.

    One face takes less than a millisecond, so more threads would wait for each other, and the
    device has a camera to read besides.
    """
    return max(1, min(_MOST_THREADS, usable_cores() // 2))


def _container_quota() -> float | None:
    """Cores' worth of time that the control group grants; None without a bound (cgroups(7))."""
    try:
        if _QUOTA_V2.exists():
            quota, period = _QUOTA_V2.read_text(encoding="ascii").split()
        elif _QUOTA_V1.exists():
            quota = _QUOTA_V1.read_text(encoding="ascii").strip()
            period = _PERIOD_V1.read_text(encoding="ascii")
        else:
            return None
        return None if quota in ("max", "-1") else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None  # a system whose control groups look different sets no bound that we know
