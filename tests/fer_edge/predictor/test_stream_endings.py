"""How streams end: by their end, an error, their consumer, or nobody."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fer_edge import ClosedError, InputError, Predictor
from fer_edge import stream as stream_module
from fer_edge.system import threads

Image = npt.NDArray[np.uint8]
Gray = Callable[[int], Image]
MakeDouble = Callable[..., Any]
Settle = Callable[[list[int]], None]


pytestmark = pytest.mark.usefixtures("no_thread_stays_busy")


def test_a_consumer_that_stops_stops_the_source_and_the_threads(double: Any, gray: Gray) -> None:
    ended = threading.Event()

    def source() -> Iterator[Image]:
        try:
            while True:
                yield gray(1)
        finally:
            ended.set()

    stream = Predictor(backend=double).predict_stream(source())
    next(stream)
    stream.close()
    assert ended.wait(20)


def test_leaving_a_loop_stops_the_threads(double: Any, gray: Gray) -> None:
    for _ in Predictor(backend=double).predict_stream(gray(1) for _ in count()):
        break


def test_closing_waits_for_the_call_that_is_under_way(
    make_waiting: Callable[..., Any], gray: Gray
) -> None:
    backend = make_waiting()
    backend.go.set()
    stream = Predictor(backend=backend).predict_stream(gray(1) for _ in count())
    next(stream)
    backend.go.clear()
    letting_go = threading.Timer(0.2, backend.go.set)
    letting_go.start()
    stream.close()
    assert backend.at_work == 0
    letting_go.join()


def test_closing_does_not_wait_for_a_source_that_has_nothing(
    double: Any, gray: Gray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "_PATIENCE", 0.1)
    more = threading.Event()

    def source() -> Iterator[Image]:
        yield gray(1)
        more.wait(20)
        yield gray(2)

    stream = Predictor(backend=double).predict_stream(source())
    next(stream)
    start = time.monotonic()
    stream.close()
    assert time.monotonic() - start < 10
    more.set()


def test_a_predictor_that_is_closed_ends_its_streams(tiny_artifact: Path, gray: Gray) -> None:
    fer = Predictor(tiny_artifact, backend="onnxruntime", threads=1)
    stream = fer.predict_stream(gray(1) for _ in count())
    next(stream)
    fer.close()
    with pytest.raises(ClosedError):
        list(stream)


def test_a_stream_that_is_garbage_stops_without_waiting(
    settle: Settle, double: Any, gray: Gray
) -> None:
    """Collected in a thread that holds what the stream's own threads need in order to end."""
    needed, entered = threading.Lock(), threading.Event()

    class Needy(type(double)):  # type: ignore[misc]
        def infer(self, batch: Image) -> Any:
            entered.set()
            with needed:
                return super().infer(batch)

    read: list[int] = []

    def source() -> Iterator[Image]:
        for value in range(100):
            read.append(value)
            yield gray(value % 7)

    stream = Predictor(backend=Needy(double.spec)).predict_stream(source(), batch=1)
    next(stream)
    settle(read)
    cycle: list[Any] = [stream]
    cycle.append(cycle)
    with needed:
        entered.clear()
        next(stream)  # which was answered already, and makes room for another
        assert entered.wait(10)
        del stream, cycle
        gc.collect()


def test_a_stream_may_become_garbage_in_a_thread_that_holds_its_lock(
    double: Any, gray: Gray
) -> None:
    """Garbage is collected wherever a thread is, within the stream's own code as well."""
    stream = Predictor(backend=double).predict_stream(gray(1) for _ in count())
    next(stream)
    core = stream._stream
    assert core is not None
    with core._has_room:
        assert core._has_room.acquire(blocking=False)  # else what follows waits for itself
        core._has_room.release()
        core.abandon()
    with pytest.raises(ClosedError):
        list(stream)


def test_a_with_block_and_a_break_stop_the_threads(double: Any, gray: Gray) -> None:
    with Predictor(backend=double).predict_stream(gray(1) for _ in count()) as stream:
        for _ in stream:
            break
    assert list(stream) == []


def test_closing_releases_a_thread_that_waits(
    double: Any, gray: Gray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "_PATIENCE", 0.1)
    more = threading.Event()

    def source() -> Iterator[Image]:
        yield gray(1)
        more.wait(20)

    stream = Predictor(backend=double).predict_stream(source())
    problems: list[BaseException] = []
    seen = threading.Event()

    def consume() -> None:
        try:
            for _ in stream:
                seen.set()
        except ClosedError as problem:
            problems.append(problem)

    consumer = threading.Thread(target=consume)
    consumer.start()
    assert seen.wait(10)
    while not stream._turn.locked():
        time.sleep(0.001)
    with pytest.raises(ValueError, match="another thread"):
        next(stream)
    stream.close()
    consumer.join(10)
    more.set()
    assert len(problems) == 1


def test_an_error_that_is_kept_keeps_neither_crop_nor_engine(double: Any, gray: Gray) -> None:
    class Crop(np.ndarray):  # one that can be watched
        pass

    misfit = np.zeros((60, 60), np.float32).view(Crop)
    gone = weakref.ref(misfit)
    crops = iter([gray(1), misfit])
    del misfit
    (_, problem) = Predictor(backend=double).predict_stream(crops, errors="yield")
    assert isinstance(problem, InputError)
    assert (problem.index, problem.__traceback__, problem.__cause__) == (1, None, None)
    del crops
    gc.collect()
    assert gone() is None


def test_a_crop_is_let_go_while_its_source_is_waiting(double: Any, gray: Gray) -> None:
    class Crop(np.ndarray):  # one that can be watched
        pass

    gone: list[weakref.ref[Crop]] = []
    waiting, more = threading.Event(), threading.Event()

    def source() -> Iterator[Image]:
        crop = gray(1).view(Crop)
        gone.append(weakref.ref(crop))
        yield crop
        del crop
        waiting.set()
        more.wait(20)

    with Predictor(backend=double).predict_stream(source()) as stream:
        next(stream)
        assert waiting.wait(10)
        held = gone[0]()
        more.set()
    assert held is None


def test_an_interrupt_while_threads_start_leaves_none(
    double: Any, gray: Gray, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def run(function: Callable[[], None]) -> threads.Task:
        if started:
            raise KeyboardInterrupt
        started.append(threads.run(function))
        return started[0]

    monkeypatch.setattr(stream_module, "run", run)
    stream = Predictor(backend=double).predict_stream(gray(1) for _ in count())
    with pytest.raises(KeyboardInterrupt):
        next(stream)
    assert started[0]._ended.wait(10)
