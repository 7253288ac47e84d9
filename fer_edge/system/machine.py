"""What machine this is, for results to name."""

from __future__ import annotations

import platform
from pathlib import Path

__all__ = ["cpu_name"]

_BOARD = "proc/device-tree/model"
_CPUS = "proc/cpuinfo"
_KEYS = ("model name", "Model")


def cpu_name(root: Path = Path("/")) -> str:
    """The name of the board, else of the processor, else its architecture.

    Boards go first, since all their processors are called ``ARMv8`` or nothing. ``root`` is the
    folder that holds ``proc``.
    """
    if board := _text(root / _BOARD).strip("\0\n "):
        return board
    for line in _text(root / _CPUS).splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        if key in _KEYS and value:
            return value
    return platform.processor() or platform.machine()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
