"""Which threads are in a call of ours, for what a fork and the end of the program have to know.

A fork copies the locks of native code as they are: those that another thread held stay locked in
the child. And until Python 3.13, a daemon thread that comes back from C++ after the interpreter
began to finalise ends the whole process ("terminate called without an active exception"), because
Python ends the thread there, and C++ does not let it. So the end of the program waits for calls
that are under way, and a daemon thread that starts another one then ends quietly.
"""

from __future__ import annotations

import atexit
import functools
import threading
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from fer_edge.system.forking import in_each_child

P = ParamSpec("P")
R = TypeVar("R")

_PATIENCE_S = 5.0
"""Seconds that the end of the program waits; a call on a device that hangs never returns."""
_PAUSE_S = 0.001


class _Calls:
    """How deep each thread is in calls of ours. A thread writes its own entry only: no lock."""

    def __init__(self) -> None:
        self.depths: dict[int, int] = {}
        self.ending = self.cut_off = False

    def __enter__(self) -> None:
        me = threading.get_ident()
        depth = self.depths.get(me, 0)
        self.depths[me] = depth + 1  # before ending is read, so that end() cannot miss it
        if self.ending and not depth and threading.current_thread().daemon:
            del self.depths[me]
            raise SystemExit  # which threading does not report

    def __exit__(self, *_: object) -> None:
        me = threading.get_ident()
        self.depths[me] -= 1
        if not self.depths[me]:
            del self.depths[me]

    def end(self) -> None:
        """Let no daemon thread begin a call any more, and wait for those that are under way."""
        self.ending = True
        until = time.monotonic() + _PATIENCE_S
        while self.depths and time.monotonic() < until:
            time.sleep(_PAUSE_S)

    def forget_the_parents(self) -> None:
        """Keep this thread's calls, in a child of fork, and remember whether there were others."""
        me = threading.get_ident()
        self.cut_off = self.cut_off or bool(self.depths.keys() - {me})
        self.depths = {me: self.depths[me]} if me in self.depths else {}


_calls = _Calls()
atexit.register(_calls.end)
in_each_child(_calls.forget_the_parents)


def under_way(function: Callable[P, R]) -> Callable[P, R]:
    """Count ``function`` as a call of ours while it runs."""

    @functools.wraps(function)
    def counted(*arguments: P.args, **keywords: P.kwargs) -> R:
        with _calls:
            return function(*arguments, **keywords)

    return counted


def forked_during_a_call() -> bool:
    """Whether another thread of a parent was in a call of ours when this process forked off it."""
    return _calls.cut_off
