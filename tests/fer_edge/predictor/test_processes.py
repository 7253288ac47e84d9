"""Forks, spawned processes and interpreters that end."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from forked import SECONDS, in_a_child

from fer_edge import ConfigurationError, Predictor

CROP = np.arange(48 * 48, dtype=np.uint32).astype(np.uint8).reshape(48, 48)


@pytest.mark.parametrize(
    "use",
    [
        lambda fer: fer.predict(CROP),
        lambda fer: fer.predict_batch([CROP]),
        lambda fer: fer.predict_tensor(CROP[None, :, :, None]),
        lambda fer: fer.predict_stream([CROP]),
    ],
    ids=["predict", "batch", "tensor", "stream"],
)
def test_in_a_child_of_fork_its_use_is_an_error(
    fer: Predictor, use: Callable[[Predictor], object]
) -> None:
    before = fer.predict(CROP)
    outcome = in_a_child(lambda: use(fer))
    assert outcome.startswith("EngineError: this Predictor was made before the process forked")
    assert "make a new one in each process" in outcome
    assert np.array_equal(fer.predict(CROP).probabilities, before.probabilities)


def test_in_a_child_of_fork_a_stream_of_the_parent_is_an_error(fer: Predictor) -> None:
    stream = fer.predict_stream([CROP] * 200)
    next(stream)
    assert in_a_child(lambda: next(stream)).startswith("EngineError: this Stream was made before")
    assert len(list(stream)) == 199


def test_a_stream_is_neither_copied_nor_pickled(fer: Predictor) -> None:
    stream = fer.predict_stream([CROP])
    for act in (copy.copy, pickle.dumps):
        with pytest.raises(ConfigurationError, match="ResultIterator cannot be pickled or copied"):
            act(stream)


def test_in_a_child_of_fork_a_stream_that_a_thread_waits_for_is_an_error(fer: Predictor) -> None:
    asked, forked = threading.Event(), threading.Event()

    def crops() -> Iterator[npt.NDArray[np.uint8]]:
        asked.set()
        forked.wait(20)
        yield CROP

    stream = fer.predict_stream(crops())
    waiting = threading.Thread(target=next, args=(stream,))
    waiting.start()
    assert asked.wait(10)
    outcome = in_a_child(lambda: next(stream))
    forked.set()
    waiting.join()
    assert outcome.startswith("EngineError: this Stream was made before")


def test_a_child_of_fork_does_not_wait_for_a_lock_of_a_streams_thread(fer: Predictor) -> None:
    stream = fer.predict_stream([CROP] * 20)
    next(stream)
    core = stream._stream
    assert core is not None
    held, forked = threading.Event(), threading.Event()

    def hold() -> None:
        with core._has_room:
            held.set()
            forked.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(10)
    outcome = in_a_child(stream.close)
    forked.set()
    holder.join()
    assert outcome == "None"
    assert len(list(stream)) == 19


def test_a_child_of_fork_may_close_it_and_leaves_the_parents_alone(
    double: Any, fer: Predictor
) -> None:
    doubled = Predictor(backend=double)

    def close_both() -> None:
        fer.close()
        doubled.close()
        if double.closed:
            raise AssertionError("its engine was closed")

    assert in_a_child(close_both) == "None"
    fer.predict(CROP)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_child_of_fork_may_drop_it(tiny_artifact: Path, backend: str) -> None:
    pytest.importorskip(backend)
    mine = [Predictor(tiny_artifact, backend=backend, threads=2)]
    before = mine[0].predict(CROP)
    assert in_a_child(mine.clear) == "None"
    assert np.array_equal(mine[0].predict(CROP).probabilities, before.probabilities)


def test_a_predictor_that_is_made_in_a_child_of_fork_works_there(tiny_artifact: Path) -> None:
    def predict() -> None:
        with Predictor(tiny_artifact, backend="onnxruntime", threads=2) as made_here:
            made_here.predict(CROP)

    assert in_a_child(predict) == "None"


POOL = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
import numpy as np
from fer_edge import Prediction, Predictor

fer: Predictor

def start(model: str) -> None:
    global fer
    fer = Predictor(model, backend="onnxruntime", threads=1)

def classify(value: int) -> Prediction:
    return fer.predict(np.full((48, 48), value, np.uint8))

if __name__ == "__main__":
    values = [0, 60, 120, 250]
    context = multiprocessing.get_context(sys.argv[2])
    with ProcessPoolExecutor(2, context, start, (sys.argv[1],)) as pool:
        given = list(pool.map(classify, values))
    with Predictor(sys.argv[1], backend="onnxruntime") as here:
        for value, prediction in zip(values, given, strict=True):
            expected = here.predict(np.full((48, 48), value, np.uint8))
            assert np.allclose(prediction.probabilities, expected.probabilities, atol=1e-6)
    print("the same")
"""


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_a_predictor_in_each_process_of_a_pool_works(
    tiny_artifact: Path, tmp_path: Path, method: str
) -> None:
    """As docs/runtime.md shows it."""
    script = tmp_path / "pool.py"
    script.write_text(POOL)
    answer = subprocess.run(
        [sys.executable, str(script), str(tiny_artifact), method],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == "the same\n"


UNFINISHED = """
import sys, threading
import numpy as np
from fer_edge import Predictor

def source():
    yield from [np.zeros((48, 48), np.uint8)] * 50
    threading.Event().wait()

fer = Predictor(sys.argv[1], backend="onnxruntime", threads=2)
streams = [fer.predict_stream(source()) for _ in range(2)]
for stream in streams:
    print(next(stream).emotion.value)
"""


def test_a_program_may_end_with_streams_that_nobody_closed(tiny_artifact: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", UNFINISHED, str(tiny_artifact)],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert (answer.returncode, answer.stderr) == (0, "")
    assert len(answer.stdout.split()) == 2


BUSY = """
import sys, threading
import numpy as np
from fer_edge import FaceAnalyzer, Predictor

fer = Predictor(sys.argv[1], backend=sys.argv[2], threads=1)
faces = FaceAnalyzer(fer)
crops = np.zeros((1024, *fer.info.spec.input.shape), np.uint8)
picture = np.zeros((640, 640, 3), np.uint8)
called = threading.Event()

def work():
    while True:
        fer.predict_tensor(crops)
        faces.analyze(picture)
        called.set()

threading.Thread(target=work, daemon=True).start()
called.wait(20)
"""


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_program_may_end_while_a_daemon_thread_predicts(
    tiny_artifact: Path, backend: str
) -> None:
    pytest.importorskip(backend)
    answer = subprocess.run(
        [sys.executable, "-c", BUSY, str(tiny_artifact), backend],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert (answer.returncode, answer.stderr) == (0, "")
