"""A pool of objects that serve one thread at a time, such as infer requests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from fer_edge.errors import ClosedError


class _Closable(Protocol):
    def close(self) -> None: ...


T = TypeVar("T", bound=_Closable)


class Pool(Generic[T]):
    """Lends at most ``size`` items. They are made when they are first needed, and reused.

    ``closed`` is the message of the ClosedError that is raised after ``close``.
    """

    def __init__(self, make: Callable[[], T], size: int, closed: str) -> None:
        self._make: Callable[[], T] | None = make
        self._message = closed
        self._changed = threading.Condition()
        self._idle: list[T] = []
        self._unmade = size

    @contextmanager
    def borrow(self) -> Iterator[T]:
        """Lend an item for a ``with`` block. Entering it waits while all items are lent.

        Entering raises ClosedError after ``close``, and whatever ``make`` raises.
        """
        item = self._take()
        try:
            yield item
        finally:
            with self._changed:
                is_open = self._make is not None
                if is_open:
                    self._idle.append(item)
                    self._changed.notify()
            if not is_open:
                item.close()

    def close(self) -> None:
        """Close idle items now, and the others when their block ends. May be repeated."""
        with self._changed:
            self._make = None  # it may hold large objects
            idle, self._idle = self._idle, []
            self._changed.notify_all()
        for item in idle:
            item.close()

    def _take(self) -> T:
        with self._changed:
            self._changed.wait_for(lambda: self._idle or self._unmade or self._make is None)
            make = self._make
            if make is None:
                raise ClosedError(self._message)
            if self._idle:
                return self._idle.pop()  # the one used last, whose caches are warm
            self._unmade -= 1
        try:
            return make()
        except BaseException:
            with self._changed:
                self._unmade += 1
                self._changed.notify()
            raise
