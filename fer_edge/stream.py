"""Reading, preparing and inferring side by side, in order and within bounds."""

from __future__ import annotations

import atexit
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from fer_edge.errors import InputError

__all__ = ["Stream"]

Item = TypeVar("Item")
Rows: TypeAlias = "npt.NDArray[Any]"
Answer = TypeVar("Answer")

_PATIENCE = 1.0
"""Seconds for which the end of a stream waits for a source that is between two items."""


@dataclass(frozen=True)
class _Raised:
    """Stands where an answer would, and ends the stream."""

    problem: BaseException


_END = object()


class Stream(Generic[Item, Answer]):
    """One thread reads and prepares items, ``workers`` others infer, the consumer takes answers.

    ``make_rows(count)`` makes the ring of rows that items are prepared into. ``prepare(item, index,
    row)`` fills one of them; an InputError that it raises takes the answer's place. ``infer(rows)``
    answers 1 to ``batch`` rows in one call. Workers do not wait for a batch to fill: each takes
    what is ready, so a slow source is answered at once, and a fast one in full batches. Fewer than
    ``batch`` are taken as a power of two, so that an engine sees few shapes.

    No more than ``batch * (workers + 2)`` items are between source and consumer. What the source
    or ``infer`` raises is raised to the consumer at its place, after the answers before it.

    The threads run from ``__enter__`` to ``__exit__``, which waits for the calls of ``infer`` that
    are under way. A source that blocks cannot be interrupted: its thread is waited for a second,
    then left behind, and ends with the item that it is waiting for.
    """

    def __init__(
        self,
        source: Iterator[Item],
        make_rows: Callable[[int], Rows],
        prepare: Callable[[Item, int, Rows], None],
        infer: Callable[[Rows], Iterable[Answer]],
        *,
        batch: int,
        workers: int,
    ) -> None:
        self._source, self._prepare, self._infer = source, prepare, infer
        self._batch = batch
        self._bound = batch * (workers + 2)
        # a row is free again once its item was answered, so as many do as items may be under way
        self._rows = make_rows(self._bound)
        self._read = self._given = self._taken = 0
        self._ready: deque[int] = deque()  # items whose rows follow one another from _taken on
        self._answers: dict[int, Any] = {}
        self._stopped = self._complete = False
        lock = threading.Lock()
        self._has_room = threading.Condition(lock)
        self._has_ready = threading.Condition(lock)
        self._has_answer = threading.Condition(lock)
        self._reader = threading.Thread(
            target=self._read_ahead, name="fer_edge stream reader", daemon=True
        )
        self._workers = [
            threading.Thread(target=self._work, name=f"fer_edge stream worker {n}", daemon=True)
            for n in range(workers)
        ]

    def __enter__(self) -> Stream[Item, Answer]:
        # once the interpreter is going down, its threads can neither work nor be waited for
        atexit.register(self._stop)
        try:
            for thread in (self._reader, *self._workers):
                thread.start()
        except RuntimeError:  # no more threads can be had
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        atexit.unregister(self._stop)
        self._stop()

    def answers(self) -> Generator[Answer | InputError, None, None]:
        """Give the answer, or the InputError, of each item in order."""
        while True:
            for answer in self._next_answers():
                if answer is _END:
                    return
                if isinstance(answer, _Raised):
                    raise answer.problem
                self._given += 1
                yield answer

    def _stop(self) -> None:
        with self._has_room:
            self._stopped = True
            self._ready.clear()
            for condition in (self._has_room, self._has_ready, self._has_answer):
                condition.notify_all()
        for thread in self._workers:
            _join(thread, None)
        _join(self._reader, _PATIENCE)

    def _read_ahead(self) -> None:
        """Read and prepare until the source ends, fails, or nobody listens."""
        prepared = 0
        while self._wait_for_room():
            index = self._read
            try:
                item = next(self._source)
            except StopIteration:
                self._finish(index, _END)
                return
            except BaseException as problem:  # the consumer is to get it, whatever it is
                self._finish(index, _Raised(problem))
                return
            try:
                self._prepare(item, index, self._rows[prepared % self._bound])
            except InputError as problem:
                self._put({index: problem})
            except BaseException as problem:  # likewise
                self._finish(index, _Raised(problem))
                return
            else:
                prepared += 1
                with self._has_ready:
                    self._ready.append(index)
                    self._has_ready.notify()
            self._read = index + 1

    def _wait_for_room(self) -> bool:
        with self._has_room:
            while not self._stopped and self._read - self._given >= self._bound:
                self._has_room.wait()
            return not self._stopped

    def _finish(self, index: int, last: object) -> None:
        with self._has_ready:
            self._complete = True
            self._has_ready.notify_all()
        self._put({index: last})

    def _work(self) -> None:
        while (taken := self._take())[0]:
            indices, rows = taken
            try:
                outcome: dict[int, Any] = dict(zip(indices, self._infer(rows), strict=True))
            except BaseException as problem:  # as above
                outcome = {indices[0]: _Raised(problem)}
            self._put(outcome)

    def _take(self) -> tuple[list[int], Rows]:
        """Wait for rows; none once there will be none."""
        with self._has_ready:
            while not self._ready and not self._complete and not self._stopped:
                self._has_ready.wait()
            count = min(len(self._ready), self._batch)
            if 0 < count < self._batch:
                count = 1 << count.bit_length() - 1
            start = self._taken % self._bound
            self._taken += count
            indices = [self._ready.popleft() for _ in range(count)]
        if start + count <= self._bound:
            return indices, self._rows[start : start + count]
        return indices, self._rows.take(np.arange(start, start + count), axis=0, mode="wrap")

    def _put(self, answers: dict[int, Any]) -> None:
        with self._has_answer:
            self._answers.update(answers)
            self._has_answer.notify()

    def _next_answers(self) -> list[Any]:
        """Wait for the next answer; with it come those after it that are there already."""
        with self._has_answer:
            self._has_room.notify()  # once for all that was given since
            while self._given not in self._answers:
                self._has_answer.wait()
            index, answers = self._given, []
            while index in self._answers:
                answers.append(self._answers.pop(index))
                index += 1
            return answers


def _join(thread: threading.Thread, seconds: float | None) -> None:
    # a stream that nobody holds may be collected in one of its own threads
    if thread.ident is not None and thread is not threading.current_thread():
        thread.join(seconds)
