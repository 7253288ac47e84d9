"""Threads that are used again.

A new thread for each stream would leak memory: OpenCV 4.14 keeps about a kilobyte for every thread
that ever resized a picture, even after the thread ended.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from fer_edge.system.forking import ProcessBound, in_each_child

_IDLE_S = 60.0
"""Seconds for which a thread waits for another task."""


class _IdleThreads:
    """The threads that wait for a task."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.idle: list[_Thread] = []

    def forget(self) -> None:
        """Start anew, in a child of fork: the threads stayed behind in the parent."""
        self.lock = threading.Lock()
        self.idle = []


_waiting = _IdleThreads()
in_each_child(_waiting.forget)


class Task(ProcessBound):
    """A function that a thread of ours runs, once."""

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def join(self, seconds: float | None = None) -> None:
        """Wait until the function has returned, or for at most ``seconds``.

        Returns at once in the thread that runs it, and in a child of fork, where no thread does.
        """
        if self._thread is not threading.current_thread() and not self.inherited:
            self._ended.wait(seconds)

    def _run(self, thread: threading.Thread) -> None:
        function, self._function = self._function, _nothing  # frees what the function holds
        self._thread = thread
        try:
            function()
        finally:
            self._ended.set()


class _Thread(threading.Thread):
    def __init__(self, task: Task) -> None:
        super().__init__(name="fer_edge", daemon=True)
        self._task: Task | None = task
        self._waiting = _waiting
        self._has_task = threading.Condition(_waiting.lock)

    def give(self, task: Task) -> None:
        """Wake the thread; the lock is held."""
        self._task = task
        self._has_task.notify()

    def run(self) -> None:
        while (task := self._task) is not None:
            task._run(self)
            with self._has_task:
                self._task = None
                self._waiting.idle.append(self)
                self._has_task.wait_for(lambda: self._task is not None, _IDLE_S)
                if self._task is None:
                    self._waiting.idle.remove(self)


def run(function: Callable[[], None]) -> Task:
    """Run ``function`` in a daemon thread, an idle one or a new one. It may not raise.

    Raises RuntimeError where the system gives no more threads.
    """
    task = Task(function)
    with _waiting.lock:
        if _waiting.idle:
            _waiting.idle.pop().give(task)  # the last one that was busy, so that the others may end
            return task
    _Thread(task).start()
    return task


def idle() -> int:
    """How many threads wait for a task. A thread ends after a minute without one."""
    return len(_waiting.idle)


def _nothing() -> None:
    pass
