"""Items made in a thread of their own, a bounded number ahead of whoever takes them."""

from __future__ import annotations

import atexit
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from fer_edge.errors import ClosedError
from fer_edge.system.forking import ProcessBound
from fer_edge.system.threads import Task, run

Item = TypeVar("Item")

_PATIENCE_S = 1.0
"""Seconds for which ``close`` waits for a source that is between two items."""


class Ahead(ProcessBound, Generic[Item]):
    """An iterator over ``items``, read by a thread that starts with the first ``next``.

    At most ``size`` items wait to be taken. A thread that has made more waits for room; with
    ``latest`` it drops the oldest instead and counts it in ``dropped``, so that a slow consumer of
    a live source sees what is happening now. What ``items`` raises is raised to the consumer at its
    place.

    ``close`` ends the thread after the item that it is working on. In a child of fork there is no
    thread, and ``next`` raises EngineError.
    """

    def __init__(self, items: Iterator[Item], *, size: int = 2, latest: bool = False) -> None:
        self.dropped = 0
        self._items = items
        self._size, self._latest = size, latest
        self._waiting: deque[Item] = deque()
        self._changed = threading.Condition()
        self._ended = self._closed = False
        self._problem: BaseException | None = None
        self._task: Task | None = None

    def __iter__(self) -> Ahead[Item]:
        return self

    def __next__(self) -> Item:
        """Wait for the next item.

        Raises StopIteration after the last, ClosedError if another thread closes meanwhile.
        """
        self.require_own_process()
        if self._task is None and not self._closed:
            atexit.register(self.close)
            self._task = run(self._work)
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended or self._closed)
            if self._closed:
                raise ClosedError("this stream was closed before its end")
            if self._waiting:
                item = self._waiting.popleft()
                self._changed.notify_all()
                return item
        if self._problem is not None:
            raise self._problem
        raise StopIteration

    def close(self, *, wait: bool = True) -> None:
        """Stop the thread, and by default wait a second for it; may be repeated."""
        if self.inherited:  # nobody runs here, and the lock may be held for ever
            return
        atexit.unregister(self.close)
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()
        if wait and self._task is not None:
            self._task.join(_PATIENCE_S)

    def __enter__(self) -> Ahead[Item]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _work(self) -> None:
        try:
            for item in self._items:
                if not self._put(item):
                    break
                del item  # the next may be long in coming
        except BaseException as problem:  # the consumer is to get it, whatever it is
            self._problem = problem
        finally:
            close: Any = getattr(self._items, "close", None)
            if close is not None:  # a generator gives back here what it holds
                close()
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _put(self, item: Item) -> bool:
        with self._changed:
            while not self._closed and len(self._waiting) >= self._size:
                if self._latest:
                    self._waiting.popleft()
                    self.dropped += 1
                else:
                    self._changed.wait()
            if not self._closed:
                self._waiting.append(item)
                self._changed.notify_all()
            return not self._closed
