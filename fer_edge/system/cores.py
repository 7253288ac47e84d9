"""How many cores this process may use, and how many threads an engine gets by default."""

from __future__ import annotations

import math
import os
from pathlib import Path

_QUOTA_V2 = Path("/sys/fs/cgroup/cpu.max")
_QUOTA_V1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
_PERIOD_V1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")
_MOST_THREADS = 4


def usable_cores() -> int:
    """Cores that this process may use, by its affinity and the quota of its container."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota = _container_quota()
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def default_threads() -> int:
    """Threads of an engine by default: half of the usable cores, at least 1 and at most 4.

    One face takes less than a millisecond, so more threads would mostly wait for each other, and
    the device has other work to do, such as reading a camera.
    """
    return max(1, min(_MOST_THREADS, usable_cores() // 2))


def _container_quota() -> float | None:
    """How many cores the control group grants, or None without a limit (cgroups(7))."""
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
        return None  # control groups of another form: no limit that we can read
