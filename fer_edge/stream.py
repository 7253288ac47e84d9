"""Reading, preparing and inferring side by side, in order and within bounds."""

from __future__ import annotations

import atexit
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, TypeVar

from fer_edge.errors import InputError

__all__ = ["Stream"]

Item = TypeVar("Item")
Row = TypeVar("Row")
Answer = TypeVar("Answer")

_PATIENCE = 1.0
"""Seconds for which the end of a stream waits for a source that is between two items."""


@dataclass(frozen=True)
class _Raised:
    """Stands where an answer would, and ends the stream."""

    problem: BaseException


_END = object()


class Stream(Generic[Item, Row, Answer]):
    """One thread reads and prepares items, ``workers`` others infer, the consumer takes answers.

    ``prepare(item, index)`` makes a row; an InputError that it raises takes the answer's place.
    ``infer(rows)`` answers 1 to ``batch`` rows in one call. Workers do not wait for a batch to
    fill: each takes what is ready, so a slow source is answered at once, and a fast one in full
    batches. Fewer than ``batch`` are taken as a power of two, so that an engine sees few shapes.

    No more than ``batch * (workers + 2)`` items are between source and consumer. What the source
    or ``infer`` raises is raised to the consumer at its place, after the answers before it.

    The threads run from ``__enter__`` to ``__exit__``, which waits for the calls of ``infer`` that
    are under way. A source that blocks cannot be interrupted: its thread is waited for a second,
    then left behind, and ends with the item that it is waiting for.
    """

    def __init__(
        self,
        source: Iterator[Item],
        prepare: Callable[[Item, int], Row],
        infer: Callable[[Sequence[Row]], Sequence[Answer]],
        *,
        batch: int,
        workers: int,
    ) -> None:
        self._source, self._prepare, self._infer = source, prepare, infer
        self._batch = batch
        self._bound = batch * (workers + 2)
        self._read = self._given = 0
        self._ready: deque[tuple[int, Row]] = deque()
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

    def __enter__(self) -> Stream[Item, Row, Answer]:
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
            with self._has_answer:
                while self._given not in self._answers:
                    self._has_answer.wait()
                answer = self._answers.pop(self._given)
                self._given += 1
                self._has_room.notify()
            if answer is _END:
                return
            if isinstance(answer, _Raised):
                raise answer.problem
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
                row = self._prepare(item, index)
            except InputError as problem:
                self._put({index: problem})
            except BaseException as problem:  # likewise
                self._finish(index, _Raised(problem))
                return
            else:
                with self._has_ready:
                    self._ready.append((index, row))
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
        while taken := self._take():
            indices, rows = zip(*taken, strict=True)
            try:
                answers = self._infer(rows)
                outcome: dict[int, Any] = dict(zip(indices, answers, strict=True))
            except BaseException as problem:  # as above
                outcome = {indices[0]: _Raised(problem)}
            self._put(outcome)

    def _take(self) -> list[tuple[int, Row]]:
        """Wait for rows; nothing once there will be none."""
        with self._has_ready:
            while not self._ready and not self._complete and not self._stopped:
                self._has_ready.wait()
            count = min(len(self._ready), self._batch)
            if 0 < count < self._batch:
                count = 1 << count.bit_length() - 1
            return [self._ready.popleft() for _ in range(count)]

    def _put(self, answers: dict[int, Any]) -> None:
        with self._has_answer:
            self._answers.update(answers)
            self._has_answer.notify()


def _join(thread: threading.Thread, seconds: float | None) -> None:
    # a stream that nobody holds may be collected in one of its own threads
    if thread.ident is not None and thread is not threading.current_thread():
        thread.join(seconds)
