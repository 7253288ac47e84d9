"""A pool of objects that serve one thread at a time, such as infer requests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from fer_edge.errors import ClosedError

__all__ = ["Lease", "Pool"]


class _Closable(Protocol):
    def close(self) -> None: ...


T = TypeVar("T", bound=_Closable)


class Pool(Generic[T]):
    """Lends at most ``size`` items. They are made when they are first needed, and reused.

    ``closed`` is the message of the ClosedError that is raised after ``close``.
    """

    def __init__(self, make: Callable[[], T], size: int, closed: str) -> None:
        if size < 1:
            raise ValueError(f"a pool holds at least 1 item, not {size}")
        self._make: Callable[[], T] | None = make
        self._size, self._message = size, closed
        self._changed = threading.Condition()
        self._idle: list[T] = []
        self._made = 0

    def borrow(self) -> Lease[T]:
        """Lend an item for a ``with`` block. Entering it waits while all items are lent.

        Entering raises ClosedError after ``close``, and whatever ``make`` raises. The item is given
        back even if the block raises.
        """
        return Lease(self)

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
            while not self._idle and self._made == self._size and self._make is not None:
                self._changed.wait()
            make = self._make
            if make is None:
                raise ClosedError(self._message)
            if self._idle:
                return self._idle.pop()  # the one used last, whose caches are warm
            self._made += 1
        try:
            return make()
        except BaseException:
            with self._changed:
                self._made -= 1
                self._changed.notify()
            raise

    def _give_back(self, item: T) -> None:
        with self._changed:
            if self._make is not None:
                self._idle.append(item)
                self._changed.notify()
                return
        item.close()


class Lease(Generic[T]):
    """The ``with`` block in which an item of a pool is lent."""

    __slots__ = ("_item", "_pool")

    def __init__(self, pool: Pool[T]) -> None:
        self._pool = pool

    def __enter__(self) -> T:
        self._item = self._pool._take()
        return self._item

    def __exit__(self, *_: object) -> None:
        self._pool._give_back(self._item)
