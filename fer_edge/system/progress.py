"""The progress line of every command. It appears on terminals alone, after two seconds."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TextIO, TypeVar

T = TypeVar("T")

_DELAY_S = 2.0
_INTERVAL_S = 0.1
_WIDTH, _NARROWEST = 24, 4


class Progress:
    """A line with a bar, the rate and the time left, redrawn in place on ``stream``.

    Where there is no room for both, the note is shown and the bar is not.
    """

    def __init__(self, total: int, label: str, stream: TextIO | None = None) -> None:
        self.total, self.label = total, label
        self.done = 0
        self._stream = sys.stderr if stream is None else stream
        # processes that torchrun starts share a terminal; only the first of them draws
        self._shown = self._stream.isatty() and os.environ.get("LOCAL_RANK", "0") == "0"
        self._start = time.monotonic()
        self._drawn = self._start + _DELAY_S
        self._visible = False

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count ``count`` more items as done; ``note`` is shown at the end of the line."""
        self.done += count
        now = time.monotonic()
        if self._shown and now >= self._drawn:
            self._drawn = now + _INTERVAL_S
            self._stream.write(f"\r\033[K{self._line(now - self._start, note)}")
            self._stream.flush()
            self._visible = True

    def close(self) -> None:
        """Remove the line."""
        if self._visible:
            self._stream.write("\r\033[K")
            self._stream.flush()
            self._visible = False

    def _line(self, elapsed: float, note: str) -> str:
        share = min(1.0, self.done / max(self.total, 1))
        rate = self.done / elapsed
        left = max(0, self.total - self.done) / rate if rate else 0.0
        minutes, seconds = divmod(round(left), 60)
        status = f"{self.done}/{self.total} {rate:.1f}/s {minutes}:{seconds:02d} left {note}"
        # a line that wraps could not be redrawn in place
        room = shutil.get_terminal_size().columns - 1
        width = min(_WIDTH, room - len(f"{self.label}  {status}"))
        bar = f"{'█' * round(share * width):░<{width}} " if width >= _NARROWEST else ""
        return f"{self.label} {bar}{status}"[:room]


@contextmanager
def progress(total: int, label: str) -> Iterator[Progress]:
    """Show a bar while the block runs."""
    bar = Progress(total, label)
    try:
        yield bar
    finally:
        bar.close()


def track(items: Iterable[T], total: int, label: str) -> Iterator[T]:
    """Yield ``items`` and show the progress."""
    with progress(total, label) as bar:
        for item in items:
            yield item
            bar.advance()
