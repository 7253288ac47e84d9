"""What machine this is, as far as results have to say."""

from __future__ import annotations

import platform
from pathlib import Path

__all__ = ["cpu_name"]

_CPUINFO = Path("/proc/cpuinfo")


def cpu_name() -> str:
    """The processor's own name for itself, or its architecture where it has none."""
    try:
        for line in _CPUINFO.read_text(encoding="utf-8").splitlines():
            key, _, value = (part.strip() for part in line.partition(":"))
            if key == "model name":
                return value
    except OSError:
        pass
    return platform.processor() or platform.machine()
