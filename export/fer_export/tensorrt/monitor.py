"""TensorRT's log and progress while it builds, as lines and a bar of ours, and Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import SupportsInt

import tensorrt as trt

from fer_edge.backends.tensorrt import EngineLog
from fer_edge.system.progress import Progress

_TOTAL = 100


class BuildLog(EngineLog):
    """Reports each warning once; with ``verbose``, every message."""

    def __init__(self, report: Callable[[str], None], *, verbose: bool = False) -> None:
        super().__init__()
        self.report = report
        self._verbose = verbose
        self._told: set[str] = set()

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        """Take one message; called by TensorRT, from any of its threads."""
        super().log(severity, msg)
        if self._verbose and severity != trt.ILogger.Severity.WARNING:
            self.report(f"TensorRT: {msg}")

    def warn(self, message: str) -> None:
        """Report a warning that was not reported before."""
        if message not in self._told:
            self._told.add(message)
            self.report(f"TensorRT warns: {message}")


@dataclass
class Interrupt:
    """Whether Ctrl-C was pressed."""

    pressed: bool = False

    def check(self) -> None:
        """Raise KeyboardInterrupt if it was."""
        if self.pressed:
            raise KeyboardInterrupt


@contextmanager
def catch_interrupt() -> Iterator[Interrupt]:
    """Note Ctrl-C instead of raising, because an exception in a callback is lost in TensorRT's C++.

    Python calls signal handlers only in its main thread; in other threads nothing changes.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return

    def press(*_: object) -> None:
        interrupt.pressed = True

    previous = signal.signal(signal.SIGINT, press)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, previous)
    interrupt.check()


@dataclass
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


class BuildMonitor(trt.IProgressMonitor):  # type: ignore[misc]
    """Turns nested phases into one bar; Ctrl-C ends the build at its next step.

    TensorRT calls it from several threads, and nothing that it raises would reach us.
    """

    def __init__(self, bar: Progress, interrupt: Interrupt) -> None:
        trt.IProgressMonitor.__init__(self)
        self._bar, self._interrupt = bar, interrupt
        self._phases: dict[str, _Phase] = {}
        self._lock = threading.Lock()

    def phase_start(
        self, phase_name: str, parent_phase: str | None, num_steps: SupportsInt
    ) -> None:
        """A phase begins, within another or as the outermost."""
        with self._lock:
            self._phases[phase_name] = _Phase(parent_phase or None, max(int(num_steps), 1))

    def step_complete(self, phase_name: str, step: SupportsInt) -> bool:
        """Count a step; the answer says whether to go on."""
        with self._lock:
            if phase_name in self._phases:
                self._phases[phase_name].done = int(step) + 1
            self._show(phase_name)
        return not self._interrupt.pressed

    def phase_finish(self, phase_name: str) -> None:
        """A phase ends."""
        with self._lock:
            self._phases.pop(phase_name, None)

    def _show(self, phase_name: str) -> None:
        reached = max((self._share(n) for n, p in self._phases.items() if not p.parent), default=0)
        # phases that start again must not move the bar back
        self._bar.advance(max(0, round(reached * _TOTAL) - self._bar.done), phase_name)

    def _share(self, name: str) -> float:
        """Share of a phase that is done, with what its running parts have done of their step."""
        phase = self._phases[name]
        inner = sum(self._share(n) for n, p in self._phases.items() if p.parent == name)
        return min(1.0, (phase.done + min(inner, 1.0)) / phase.steps)
