"""Reading, preparing and inferring side by side, in order and with bounded memory."""

from __future__ import annotations

import atexit
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from fer_edge.errors import ClosedError, InputError
from fer_edge.system.forking import ProcessBound
from fer_edge.system.threads import Task, run

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Shown_co = TypeVar("Shown_co", covariant=True)
Rows: TypeAlias = "npt.NDArray[Any]"

_PATIENCE = 1.0
"""Seconds that the end of a stream waits for a source that is between two items."""

_WOKEN_BY = 8
"""A waiting reader is woken when one in this many rows is free."""


@dataclass(frozen=True)
class _Raised:
    """Takes the place of an answer, and ends the stream; StopIteration is its regular end."""

    problem: BaseException


class Stream(ProcessBound, Generic[Item, Answer]):
    """One thread reads and prepares items, ``workers`` others infer, the consumer takes answers.

    ``make_rows(count)`` makes the ring of rows that items are prepared into. ``prepare(item, index,
    row)`` fills one row; if it raises an InputError, that is the answer. ``infer(rows)`` answers 1
    to ``batch`` rows in one call, and must not keep them. Workers do not wait for a full batch.
    Each takes the rows that are ready, so a slow source is answered at once and a fast one in full
    batches. If fewer than ``batch`` rows are ready, a power of two of them is taken, so that the
    engine sees few shapes.

    At most ``batch * (workers + 2)`` items are between source and consumer. An error of the source
    or of ``infer`` is raised to the consumer after the answers that come before it.

    The threads run from ``start`` to ``stop``, which waits for calls of ``infer`` that are under
    way. A source that blocks cannot be interrupted: ``stop`` waits a second for its thread, which
    then ends by itself with the next item.
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
        # a row is free again once its item is answered, so one row per item under way is enough
        self._rows = make_rows(self._bound)
        self._read = self._given = self._taken = 0
        self._ready: deque[int] = deque()  # prepared items; their rows start at _taken
        self._answers: dict[int, Any] = {}
        self._fetched: deque[Any] = deque()  # answers that the consumer took over in one go
        self._stopped = self._complete = self._full = False
        self._tasks: list[Task] = []
        # garbage collection may call abandon() in a thread that holds the lock already
        lock = threading.RLock()
        self._has_room = threading.Condition(lock)
        self._has_ready = threading.Condition(lock)
        self._has_answer = threading.Condition(lock)

    def start(self) -> None:
        """Start reading. Raises RuntimeError where the system gives no more threads."""
        # while the interpreter shuts down, threads can neither work nor be waited for
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
        if not self._fetched:
            self._fetch()
        answer = self._fetched.popleft()
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
        """Stop without waiting, for a finaliser, which may run in any thread at any place."""
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
            except BaseException as problem:  # the consumer gets the end and any error
                self._finish(index, problem)
                return
            try:
                self._prepare(item, index, self._rows[prepared % self._bound])
            except InputError as problem:
                self._put({index: _without_traceback(problem)})
            except BaseException as problem:  # as above
                self._finish(index, problem)
                return
            else:
                prepared += 1
                with self._has_ready:
                    self._ready.append(index)
                    self._has_ready.notify()
            del item  # frees it while the next one is waited for
            self._read = index + 1

    def _wait_for_room(self) -> bool:
        if self._read - self._given < self._bound:
            return not self._stopped
        with self._has_room:
            self._full = True  # set before _given is read, so that next_answer cannot miss it
            while not self._stopped and self._read - self._given >= self._bound:
                self._has_room.wait()
            self._full = False
            return not self._stopped

    def _finish(self, index: int, last: BaseException) -> None:
        with self._has_ready:
            self._complete = True
            self._has_ready.notify_all()
        self._put({index: _Raised(last)})

    def _work(self) -> None:
        while (taken := self._take())[0]:
            indices, rows = taken
            try:
                outcome: dict[int, Any] = dict(zip(indices, self._infer(rows), strict=True))
            except BaseException as problem:  # as above
                outcome = {indices[0]: _Raised(problem)}
            self._put(outcome)

    def _take(self) -> tuple[list[int], Rows]:
        """Wait for rows that are ready. Gives none at the end of the stream."""
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
        """Wait for the next answer, and take over those after it that are ready, too."""
        with self._has_answer:
            self._has_room.notify()
            while self._given not in self._answers:
                if self._stopped:
                    raise ClosedError("this stream was closed before its end")
                self._has_answer.wait()
            index = self._given
            while index in self._answers:
                self._fetched.append(self._answers.pop(index))
                index += 1


class ResultIterator(ProcessBound, Iterator[Shown_co]):
    """The results of a stream: an iterator that can be closed, and a context manager.

    ``show(answer)`` turns an answer into the result, or raises. The first ``next`` starts the
    stream. Its end, an error, ``close`` or leaving the ``with`` block stops it. The threads hold no
    reference to this object, so they also stop when it is garbage collected.
    """

    def __init__(self, stream: Stream[Any, Any], show: Callable[[Any], Shown_co]) -> None:
        self._stream: Stream[Any, Any] | None = stream
        self._show = show
        self._started = False
        self._turn = threading.Lock()

    def __next__(self) -> Shown_co:
        if self._stream is not None:
            self._stream.require_own_process()  # before the lock, which a fork may leave locked
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

    def close(self) -> None:
        """Stop the threads; the call that is under way is waited for. May be repeated.

        A thread that is waiting for the next prediction gets a ClosedError.
        """
        stream, self._stream = self._stream, None  # frees the source as well
        if stream is not None and self._started:
            stream.stop()

    def __enter__(self) -> ResultIterator[Shown_co]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        # close would wait, and the thread that collects garbage may hold what it waits for
        if self._stream is not None and self._started:
            self._stream.abandon()


def _without_traceback(problem: InputError) -> InputError:
    """Drop the traceback, whose frames hold the crop, the rows and the engine."""
    problem.__traceback__ = problem.__cause__ = problem.__context__ = None
    return problem
