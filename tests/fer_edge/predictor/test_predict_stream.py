"""Predictions as they come."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fer_edge import ConfigurationError, EngineError, InputError, Predictor
from fer_edge.predictor import STREAM_BATCH

Image = npt.NDArray[np.uint8]
Gray = Callable[[int], Image]
MakeDouble = Callable[..., Any]
Settle = Callable[[list[int]], None]


pytestmark = pytest.mark.usefixtures("no_thread_stays_busy")


def test_predictions_are_those_of_a_batch(
    fer: Predictor, crops: list[Image], expected: npt.NDArray[np.float64]
) -> None:
    given = list(fer.predict_stream(crop for _ in range(20) for crop in crops))
    assert np.stack([p.probabilities for p in given]) == pytest.approx(
        np.tile(expected, (20, 1)), abs=1e-5
    )


@pytest.mark.parametrize("concurrency", [1, 4])
def test_their_order_is_that_of_the_crops(
    make_double: MakeDouble, gray: Gray, concurrency: int
) -> None:
    class Uneven(type(make_double())):  # type: ignore[misc]
        def infer(self, batch: Image) -> Any:
            time.sleep(0.002 * (int(batch[0, 0, 0, 0]) % 3))
            return super().infer(batch)

    double = Uneven(make_double().spec, concurrency=concurrency)
    values = [int(v) for v in np.random.default_rng(0).integers(0, 7, 200)]
    given = Predictor(backend=double).predict_stream((gray(v) for v in values), batch=4)
    assert [p.emotion.class_index for p in given] == values


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("concurrency", [1, 3])
def test_rows_that_are_used_again_hold_the_crops_of_their_own_turn(
    make_double: MakeDouble, gray: Gray, concurrency: int, flip: bool
) -> None:
    """Calls of any size at any place of the ring, its end included, with misfits between."""
    rng = np.random.default_rng(concurrency)
    values = [int(value) for value in rng.integers(0, 7, 400)]
    misfits = {int(index) for index in rng.integers(0, 400, 30)}

    def source() -> Iterator[Image]:
        for index, value in enumerate(values):
            if rng.random() < 0.2:
                time.sleep(0.001)
            yield UNFIT if index in misfits else gray(value)

    class Slow(type(make_double())):  # type: ignore[misc]
        def infer(self, batch: Image) -> Any:
            before = batch.copy()
            time.sleep(0.0005)
            assert np.array_equal(batch, before)
            return super().infer(batch)

    double = Slow(make_double().spec, concurrency=concurrency)
    stream = Predictor(backend=double).predict_stream(source(), batch=5, flip=flip, errors="yield")
    for index, (given, value) in enumerate(zip(stream, values, strict=True)):
        if index in misfits:
            assert isinstance(given, InputError)
            assert given.index == index
        else:
            assert not isinstance(given, InputError)
            assert given.emotion.class_index == value
    assert len(set(map(len, double.batches))) > 1


def test_no_crops_are_no_predictions(double: Any) -> None:
    assert list(Predictor(backend=double).predict_stream([])) == []
    assert double.batches == []


def test_nothing_is_read_before_the_first_prediction_is_asked_for(double: Any, gray: Gray) -> None:
    source = iter([gray(1)])
    threads = threading.active_count()
    stream = Predictor(backend=double).predict_stream(source)
    assert threading.active_count() == threads
    stream.close()
    assert len(list(source)) == 1


@pytest.mark.parametrize(("batch", "largest"), [(None, STREAM_BATCH), (1, 1), (5, 5)])
def test_a_fast_source_is_classified_in_full_batches(
    make_double: MakeDouble, gray: Gray, batch: int | None, largest: int
) -> None:
    """While the engine works on some, others gather."""
    total = 11 * largest
    read: list[int] = []

    class Gathering(type(make_double())):  # type: ignore[misc]
        """Works on a batch until the next one has been read."""

        def infer(self, batch: Image) -> Any:
            behind = len(batch) + sum(map(len, self.batches))
            deadline = time.monotonic() + 20
            while len(read) <= min(behind + largest, total - 1):
                assert time.monotonic() < deadline
                time.sleep(0.001)
            return super().infer(batch)

    def source() -> Iterator[Image]:
        for value in range(total):
            read.append(value)
            yield gray(value % 7)

    backend = Gathering(make_double().spec)
    assert len(list(Predictor(backend=backend).predict_stream(source(), batch=batch))) == total
    sizes = [len(b) for b in backend.batches]
    assert max(sizes) == largest
    assert sizes.count(largest) >= 9


def test_a_slow_source_is_answered_crop_by_crop(double: Any, gray: Gray) -> None:
    """The next crop comes only once the last has been answered."""
    answered = threading.Semaphore(1)

    def source() -> Iterator[Image]:
        for value in range(5):
            assert answered.acquire(timeout=20)
            yield gray(value)

    given = []
    for prediction in Predictor(backend=double).predict_stream(source()):
        given.append(prediction.emotion.class_index)
        answered.release()
    assert given == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("concurrency", [1, 3])
def test_an_engine_is_asked_as_often_side_by_side_as_is_worth_it(
    make_waiting: Callable[..., Any], gray: Gray, concurrency: int
) -> None:
    backend = make_waiting(concurrency=concurrency)
    stream = Predictor(backend=backend).predict_stream(map(gray, range(60)), batch=2)

    def let_go() -> None:
        deadline = time.monotonic() + 20
        while backend.at_work < concurrency and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(0.05)
        backend.go.set()

    letting_go = threading.Thread(target=let_go)
    letting_go.start()
    assert len(list(stream)) == 60
    letting_go.join()
    assert backend.most_at_work == concurrency


@pytest.mark.parametrize(("concurrency", "batch"), [(1, 4), (2, 8)])
def test_no_more_is_read_than_will_soon_be_needed(
    settle: Settle, make_double: MakeDouble, gray: Gray, concurrency: int, batch: int
) -> None:
    read: list[int] = []

    def source() -> Iterator[Image]:
        for value in count():
            read.append(value)
            yield gray(value % 7)

    stream = Predictor(backend=make_double(concurrency=concurrency)).predict_stream(
        source(), batch=batch
    )
    for taken in range(1, 26):
        next(stream)
        if taken in {1, 2, 25}:
            settle(read)
            assert len(read) <= taken + batch * (concurrency + 2)
    stream.close()


# ---- errors

UNFIT = np.zeros((3, 3), np.uint8)


def test_a_crop_that_cannot_be_used_is_raised_at_its_place(double: Any, gray: Gray) -> None:
    stream = Predictor(backend=double).predict_stream([*map(gray, range(5)), UNFIT, gray(6)])
    assert [next(stream).emotion.class_index for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(InputError, match=r"^crop 5 of the stream: expected .* 8 x 8") as caught:
        next(stream)
    assert caught.value.index == 5
    assert list(stream) == []


def test_a_crop_that_cannot_be_used_is_given_in_its_place_if_so_wished(
    double: Any, gray: Gray, tmp_path: Path
) -> None:
    crops = [gray(1), UNFIT, gray(2), tmp_path / "missing.png", gray(3)]
    given = list(Predictor(backend=double).predict_stream(crops, errors="yield"))
    kinds = [e.index if isinstance(e, InputError) else str(e.emotion.value) for e in given]
    assert kinds == ["disgust", 1, "fear", 3, "happy"]
    assert "there is no picture" in str(given[3])


def test_what_the_source_raises_comes_after_the_predictions_before_it(
    double: Any, gray: Gray
) -> None:
    def source() -> Iterator[Image]:
        yield from map(gray, range(6))
        raise KeyError("the camera is gone")

    stream = Predictor(backend=double).predict_stream(source(), errors="yield")
    assert [next(stream).emotion.class_index for _ in range(6)] == list(range(6))
    with pytest.raises(KeyError, match="the camera is gone"):
        next(stream)


def test_what_the_engine_raises_comes_after_the_predictions_before_it(
    make_double: MakeDouble, gray: Gray
) -> None:
    class Failing(type(make_double())):  # type: ignore[misc]
        def infer(self, batch: Image) -> Any:
            if batch.max() == 5:
                raise EngineError("the driver is gone")
            return super().infer(batch)

    fer = Predictor(backend=Failing(make_double().spec))
    stream = fer.predict_stream(map(gray, range(10)), batch=1, errors="yield")
    assert [next(stream).emotion.class_index for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(EngineError, match="the driver is gone"):
        next(stream)
    assert list(stream) == []


def test_an_answer_of_another_shape_is_the_engines_error(
    answering: Callable[..., Any], gray: Gray
) -> None:
    answer = np.zeros((3, 6), np.float32)
    with pytest.raises(EngineError, match="double returned"):
        next(Predictor(backend=answering(answer, answer)).predict_stream([gray(1)]))


@pytest.mark.parametrize("batch", [0, -1, 1.5, "8", 9, True])
def test_a_batch_that_cannot_be_is_refused_at_once(make_double: MakeDouble, batch: Any) -> None:
    fer = Predictor(backend=make_double(max_batch=8))
    with pytest.raises(ConfigurationError, match="batch should be a whole number from 1 to 8"):
        fer.predict_stream([], batch=batch)


def test_an_unknown_way_with_errors_is_refused_at_once(double: Any) -> None:
    with pytest.raises(ConfigurationError, match="'raise' or 'yield', not 'ignore'"):
        Predictor(backend=double).predict_stream([], errors="ignore")  # type: ignore[call-overload]


@pytest.mark.parametrize(("flip", "rows"), [(False, 3), (True, 2)])
def test_batches_fit_the_artifact(
    make_double: MakeDouble, gray: Gray, flip: bool, rows: int
) -> None:
    double = make_double(max_batch=3)
    given = Predictor(backend=double).predict_stream(map(gray, range(50)), flip=flip)
    assert len(list(given)) == 50
    assert max(map(len, double.batches)) <= rows


@pytest.mark.parametrize(("flip", "rows"), [(False, STREAM_BATCH), (True, 2 * STREAM_BATCH)])
def test_batches_are_full_where_the_artifact_has_no_bound(
    make_waiting: MakeDouble, gray: Gray, flip: bool, rows: int
) -> None:
    waiting = make_waiting()

    def source() -> Iterator[Image]:
        for value in range(2 * STREAM_BATCH + 1):
            yield gray(value)
        waiting.go.set()

    given = Predictor(backend=waiting).predict_stream(source(), flip=flip)
    assert len(list(given)) == 2 * STREAM_BATCH + 1
    assert max(map(len, waiting.batches)) == rows


def test_an_artifact_for_single_crops_can_flip(make_double: MakeDouble, gray: Gray) -> None:
    double = make_double(max_batch=1)
    given = Predictor(backend=double).predict_stream(map(gray, range(5)), flip=True)
    assert [prediction.emotion.class_index for prediction in given] == [0, 1, 2, 3, 4]


def test_two_streams_share_a_predictor(double: Any, gray: Gray) -> None:
    fer = Predictor(backend=double)
    one, two = (fer.predict_stream(map(gray, values)) for values in (range(50), range(50, 0, -1)))
    pairs = list(zip(one, two, strict=True))
    assert [(a.emotion.class_index, b.emotion.class_index) for a, b in pairs] == [
        (first % 7, second % 7) for first, second in zip(range(50), range(50, 0, -1), strict=True)
    ]


def test_a_slow_consumer_has_the_source_read_evenly(
    settle: Settle, double: Any, gray: Gray
) -> None:
    read: list[int] = []

    def source() -> Iterator[Image]:
        for value in count():
            read.append(value)
            yield gray(value % 7)

    with Predictor(backend=double).predict_stream(source(), batch=16) as stream:
        for _ in range(48):
            next(stream)
        settle(read)
        before = len(read)
        for taken in range(1, 33):  # all of these are answered already
            next(stream)
            if taken % 8 == 0:
                settle(read)
                assert len(read) - before >= taken - 8


def test_a_batch_that_would_fill_the_memory_is_refused(double: Any, gray: Gray) -> None:
    with pytest.raises(ConfigurationError, match="from 1 to 1024, not 10000000"):
        Predictor(backend=double).predict_stream([gray(1)], batch=10**7)


def test_what_fills_no_batch_is_taken_in_powers_of_two(
    make_waiting: Callable[..., Any], gray: Gray
) -> None:
    """An engine that prepares itself for each size of a call sees few of them."""
    backend = make_waiting()

    def source() -> Iterator[Image]:
        yield gray(0)
        assert backend.working.wait(10)
        yield from (gray(value) for value in range(1, 8))
        backend.go.set()

    assert len(list(Predictor(backend=backend).predict_stream(source(), batch=16))) == 8
    assert [len(batch) for batch in backend.batches] == [1, 4, 2, 1]
