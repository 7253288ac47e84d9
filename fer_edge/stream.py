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

from fer_edge.errors import ClosedError, InputError
from fer_edge.system.forking import ProcessBound
from fer_edge.system.threads import Task, run

__all__ = ["Answers", "Stream"]

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Shown_co = TypeVar("Shown_co", covariant=True)
Rows: TypeAlias = "npt.NDArray[Any]"

_PATIENCE = 1.0
"""Seconds for which the end of a stream waits for a source that is between two items."""

_WOKEN_BY = 8
"""A reader that waits for room is woken when this part of all rows is free."""


@dataclass(frozen=True)
class _Raised:
    """Stands where an answer would, and ends the stream."""

    problem: BaseException


_END = object()


class Stream(ProcessBound, Generic[Item, Answer]):
    """One thread reads and prepares items, ``workers`` others infer, the consumer takes answers.

    ``make_rows(count)`` makes the ring of rows that items are prepared into. ``prepare(item, index,
    row)`` fills one of them; an InputError that it raises takes the answer's place. ``infer(rows)``
    answers 1 to ``batch`` rows in one call, and may not keep them. Workers do not wait for a batch
    to fill: each takes what is ready, so a slow source is answered at once, and a fast one in full
    batches. Fewer than ``batch`` are taken as a power of two, so that an engine sees few shapes.

    No more than ``batch * (workers + 2)`` items are between source and consumer. What the source
    or ``infer`` raises is raised to the consumer at its place, after the answers before it.

    The threads run from ``start`` to ``stop``, which waits for the calls of ``infer`` that are
    under way. A source that blocks cannot be interrupted: its thread is waited for a second, then
    left behind, and ends with the item that it is waiting for.
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
        self._batch, self._workers = batch, workers
        self._bound = batch * (workers + 2)
        # a row is free again once its item was answered, so as many do as items may be under way
        self._rows = make_rows(self._bound)
        self._read = self._given = self._taken = 0
        self._ready: deque[int] = deque()  # items whose rows follow one another from _taken on
        self._answers: dict[int, Any] = {}
        self._bulk: deque[Any] = deque()  # answers that the consumer's thread has fetched
        self._stopped = self._complete = self._full = False
        self._tasks: list[Task] = []
        # abandon() may come at any place of a thread that holds the lock
        lock = threading.RLock()
        self._has_room = threading.Condition(lock)
        self._has_ready = threading.Condition(lock)
        self._has_answer = threading.Condition(lock)

    def start(self) -> None:
        """Start reading. Raises RuntimeError where the system gives no more threads."""
        # once the interpreter is going down, its threads can neither work nor be waited for
        atexit.register(self.stop)
        try:
            for job in (self._read_ahead, *[self._work] * self._workers):
                self._tasks.append(run(job))
        except BaseException:
            self.stop()
            raise

    def next_answer(self) -> Answer | InputError:
        """Wait for the answer, or the InputError, of the next item.

        Raises StopIteration after the last, what the source or ``infer`` raised, ClosedError after
        ``stop``, and EngineError in a child of fork.
        """
        self.require_own_process()
        if not self._bulk:
            self._fetch()
        answer = self._bulk.popleft()
        if answer is _END:
            raise StopIteration
        if isinstance(answer, _Raised):
            raise answer.problem
        self._given += 1
        if self._full and self._bound - (self._read - self._given) >= self._bound // _WOKEN_BY:
            with self._has_room:
                self._has_room.notify()
        taken: Answer | InputError = answer
        return taken

    def stop(self) -> None:
        """Stop and wait for the threads; may be repeated."""
        self.abandon()
        for worker in self._tasks[1:]:
            worker.join()
        for reader in self._tasks[:1]:
            reader.join(_PATIENCE)

    def abandon(self) -> None:
        """Stop, and wait for nothing: for a finaliser, that may come anywhere in any thread."""
        if self.inherited:  # nobody runs here, and the lock may be held for ever
            return
        atexit.unregister(self.stop)
        self._stopped = True
        with self._has_room:
            for condition in (self._has_room, self._has_ready, self._has_answer):
                condition.notify_all()

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
                self._put({index: _alone(problem)})
            except BaseException as problem:  # likewise
                self._finish(index, _Raised(problem))
                return
            else:
                prepared += 1
                with self._has_ready:
                    self._ready.append(index)
                    self._has_ready.notify()
            del item  # the next may be long in coming
            self._read = index + 1

    def _wait_for_room(self) -> bool:
        if self._read - self._given < self._bound:
            return not self._stopped
        with self._has_room:
            self._full = True  # before the look at what was given, so that one of both is seen
            while not self._stopped and self._read - self._given >= self._bound:
                self._has_room.wait()
            self._full = False
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
            count = 0 if self._stopped else min(len(self._ready), self._batch)
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

    def _fetch(self) -> None:
        """Wait for the next answer; with it come those after it that are there already."""
        with self._has_answer:
            self._has_room.notify()
            while self._given not in self._answers:
                if self._stopped:
                    raise ClosedError("this stream was closed before its end")
                self._has_answer.wait()
            index = self._given
            while index in self._answers:
                self._bulk.append(self._answers.pop(index))
                index += 1


class Answers(Generator[Shown_co, None, None]):
    """The consumer's end of a stream: an iterator that can be closed, and a context.

    ``show(answer)`` makes of each answer what is given, or raises. The first ``next`` starts the
    stream; its end, an error, ``close`` or leaving the ``with`` block stops it. Its threads do not
    hold it, so that one which nobody keeps stops them as well, when it is collected.
    """

    def __init__(self, stream: Stream[Any, Any], show: Callable[[Any], Shown_co]) -> None:
        self._stream: Stream[Any, Any] | None = stream
        self._show = show
        self._started = False
        self._turn = threading.Lock()

    def send(self, value: None = None, /) -> Shown_co:
        """Give the next; ``value`` is of no use."""
        if not self._turn.acquire(blocking=False):
            raise ValueError("another thread is waiting for this stream's next prediction")
        try:
            stream = self._stream
            if stream is None:
                raise StopIteration
            if not self._started:
                self._started = True
                stream.start()
            return self._show(stream.next_answer())
        except BaseException:
            self.close()
            raise
        finally:
            self._turn.release()

    def throw(self, error: BaseException | type[BaseException], /, *_: object) -> Shown_co:
        """Close, and raise ``error``."""
        self.close()
        raise error

    def close(self) -> None:
        """Stop the threads; the call that is under way is waited for. May be repeated.

        A thread that is waiting for the next prediction gets a ClosedError.
        """
        stream, self._stream = self._stream, None  # and with it the source
        if stream is not None and self._started:
            stream.stop()

    def __enter__(self) -> Answers[Shown_co]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # close would wait, in whatever thread collects garbage, for what that thread may hold
        if self._stream is not None and self._started:
            self._stream.abandon()


def _alone(problem: InputError) -> InputError:
    """Without the frames that hold the crop, the rows and the engine."""
    problem.__traceback__ = problem.__cause__ = problem.__context__ = None
    return problem
