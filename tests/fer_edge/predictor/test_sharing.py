"""Many threads on one Predictor, and its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fer_edge import ClosedError, Predictor

Image = npt.NDArray[np.uint8]

CLOSE = 1e-5
THREADS = 32
CROP = np.zeros((48, 48), np.uint8)


def test_leaving_the_block_closes_the_backend(double: Any) -> None:
    with Predictor(backend=double):
        assert double.closed == 0
    assert double.closed == 1


def test_an_error_in_the_block_closes_the_backend_and_passes(double: Any) -> None:
    with pytest.raises(KeyError), Predictor(backend=double):
        raise KeyError
    assert double.closed == 1


def test_closing_twice_is_closing_once(double: Any) -> None:
    fer = Predictor(backend=double)
    fer.close()
    fer.close()
    assert double.closed == 1


@pytest.mark.parametrize(
    "use",
    [
        lambda fer: fer.predict(CROP),
        lambda fer: fer.predict("missing.png"),
        lambda fer: fer.predict_batch([CROP]),
        lambda fer: fer.predict_batch([]),
        lambda fer: fer.predict_tensor(np.zeros((1, 48, 48, 1), np.uint8)),
        lambda fer: fer.predict_stream([]),
    ],
    ids=["crop", "file", "batch", "empty batch", "tensor", "stream"],
)
def test_use_after_close_is_refused(double: Any, use: Callable[[Predictor], object]) -> None:
    fer = Predictor(backend=double)
    fer.close()
    with pytest.raises(ClosedError, match="closed; make a new one"):
        use(fer)


def test_a_call_that_is_under_way_finishes(
    make_waiting: Callable[..., Any], gray: Callable[[int], Image]
) -> None:
    backend = make_waiting()
    fer = Predictor(backend=backend)
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(fer.predict, gray(4))
        assert backend.working.wait(20)
        fer.close()
        backend.go.set()
        assert under_way.result(20).emotion.class_index == 4


def test_32_threads_share_a_predictor(
    fer: Predictor, crops: list[Image], expected: npt.NDArray[np.float64]
) -> None:
    start = threading.Barrier(THREADS)

    def work(number: int) -> float:
        start.wait(20)
        worst = 0.0
        for step in range(20):
            at = (number + step) % len(crops)
            one, two = fer.predict(crops[at]), fer.predict_batch([crops[0], crops[at]])[1]
            for given in (one, two):
                worst = max(worst, float(np.abs(given.probabilities - expected[at]).max()))
        return worst

    with ThreadPoolExecutor(THREADS) as pool:
        assert max(pool.map(work, range(THREADS))) < CLOSE


def test_closing_while_threads_predict_gives_right_answers_or_closed(
    tiny_artifact: Path, crops: list[Image], expected: npt.NDArray[np.float64]
) -> None:
    fer = Predictor(tiny_artifact, threads=1)
    all_have_answers = threading.Barrier(9)

    def work(at: int) -> float:
        worst = float(np.abs(fer.predict(crops[at]).probabilities - expected[at]).max())
        all_have_answers.wait(20)
        while True:
            try:
                given = fer.predict(crops[at]).probabilities
            except ClosedError:
                return worst
            worst = max(worst, float(np.abs(given - expected[at]).max()))

    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(work, number % len(crops)) for number in range(8)]
        all_have_answers.wait(20)
        fer.close()
        assert max(future.result(20) for future in running) < CLOSE


def test_no_lock_is_held_while_the_engine_works(
    make_waiting: Callable[..., Any], gray: Callable[[int], Image]
) -> None:
    backend = make_waiting()
    fer = Predictor(backend=backend)
    with ThreadPoolExecutor(THREADS) as pool:
        futures = [pool.submit(fer.predict, gray(n % 7)) for n in range(THREADS)]
        deadline = time.monotonic() + 20
        while backend.at_work < THREADS and time.monotonic() < deadline:
            time.sleep(0.005)
        backend.go.set()
        assert [f.result(20).emotion.class_index for f in futures] == [
            n % 7 for n in range(THREADS)
        ]
    assert backend.most_at_work == THREADS
