"""A soak passes what holds, and names what does not: each defect is put in on purpose."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_bench.regression.cells import find_model
from fer_bench.soak import run
from fer_bench.soak.load import Workload
from fer_bench.soak.observation import Holdings, Window, observe
from fer_bench.soak.run import _Calls, judge, soak
from fer_edge import ConfigurationError, InputError, Predictor
from fer_edge.artifacts.spec import InputSpec, ModelSpec, NetworkSpec
from fer_edge.backends import Backend, EngineInfo

SECONDS = 1.5


def called_by_a_worker() -> bool:
    """Whether this runs in a thread that calls, and not in the one that prepares or opens."""
    return threading.current_thread().name.startswith("soak")


class Engine(Backend):
    """Answers from the pixels alone, and does on each call what ``fault`` says."""

    def __init__(self, fault: Callable[[np.ndarray], None] = lambda _: None) -> None:
        self.spec = ModelSpec(NetworkSpec("none"), InputSpec(48, 48))
        self.engine = EngineInfo("engine", "0", "cpu", "fp32", 1)
        self._fault = fault

    def infer(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        time.sleep(0.001)
        scores = np.stack([batch[:, row::7].mean(axis=(1, 2, 3)) for row in range(7)], axis=1)
        probabilities = (scores + 1) / (scores + 1).sum(axis=1, keepdims=True)
        self._fault(probabilities)
        return scores.astype(np.float32), probabilities.astype(np.float32)

    def close(self) -> None:
        pass


def soaked(fault: Callable[[np.ndarray], None] = lambda _: None) -> Any:
    return soak(lambda: Predictor(backend=Engine(fault)), SECONDS, workers=3)


def test_what_holds_passes() -> None:
    result = soaked()
    assert result.defects == ()
    assert result.wrong == 0
    assert result.calls >= 8  # one in each window, however busy the machine is
    assert result.reopened == 6


def test_a_wrong_answer_now_and_then_is_found() -> None:
    calls = [0]

    def fault(probabilities: np.ndarray) -> None:
        calls[0] += called_by_a_worker()
        if calls[0] % 3 == 1:
            probabilities[0] = probabilities[0][::-1].copy()

    result = soaked(fault)
    assert result.wrong >= 1
    assert result.defects[0].endswith("wrong answers")
    assert "a probability is off by" in result.examples[0]


def test_answers_that_threads_mix_up_are_found() -> None:
    """A buffer that calls share: right for one thread, wrong for two."""
    buffer = np.zeros((16, 7))

    def fault(probabilities: np.ndarray) -> None:
        buffer[: len(probabilities)] = probabilities
        time.sleep(0.001)
        probabilities[:] = buffer[: len(probabilities)]

    assert soaked(fault).wrong > 0


@pytest.mark.parametrize("misread", [lambda stream: reversed(list(stream)), lambda _: iter(())])
def test_streams_that_mix_up_or_lose_answers_are_found(
    misread: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Misreading(Predictor):
        def predict_stream(self, *arguments: Any, **options: Any) -> Any:
            given = super().predict_stream(*arguments, **options)
            return nullcontext(misread(given))

    result = soak(lambda: Misreading(backend=Engine()), SECONDS, workers=3)
    assert result.wrong > 0
    assert result.examples[0].startswith("stream: ")


class Misnaming(Predictor):
    """Refuses what is bad, and says that it was another crop."""

    def predict_batch(self, crops: Any, **options: Any) -> Any:
        try:
            return super().predict_batch(crops, **options)
        except InputError as problem:
            raise InputError(str(problem), index=(problem.index or 0) + 1) from problem

    def predict_stream(self, crops: Any, **options: Any) -> Any:
        given = super().predict_stream(crops, **options)
        return nullcontext(
            InputError("", index=one.index + 1) if isinstance(one, InputError) else one
            for one in given
        )


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [("in a batch", "crop . was bad, . is named"), ("stream", "was refused, not item")],
)
def test_a_mistake_that_is_named_at_another_place_is_found(
    kind: str, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fer_bench.soak.load._WEIGHTS", {kind: 1.0})
    rng = np.random.default_rng(0)
    with Misnaming(backend=Engine()) as misnaming:
        load = Workload.of(misnaming)
        results = [load.step(misnaming, rng) for _ in range(10)]
    found = [result.wrong for result in results if result.wrong]
    assert found
    assert all(re.search(wrong, one) for one in found)


def test_memory_that_grows_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = count(100_000_000, 10_000_000)
    monkeypatch.setattr(run, "resident_memory", lambda: next(seen))
    assert any(defect.startswith("memory grew by") for defect in soaked().defects)


def test_file_handles_that_stay_open_are_found() -> None:
    opened: list[int] = []

    def fault(_: np.ndarray) -> None:
        if called_by_a_worker() and len(opened) < 1000:
            opened.append(os.open(os.devnull, os.O_RDONLY))

    try:
        result = soaked(fault)
    finally:
        for handle in opened:
            os.close(handle)
    assert any("file handles, at first" in defect for defect in result.defects)


def test_threads_that_stay_are_found() -> None:
    done, started = threading.Event(), [time.monotonic()]

    def fault(_: np.ndarray) -> None:
        if called_by_a_worker() and time.monotonic() - started[-1] > 0.05:
            started.append(time.monotonic())
            threading.Thread(target=done.wait, daemon=True).start()

    result = soaked(fault)
    done.set()
    assert any("threads, at first" in defect for defect in result.defects)


def test_nobody_calls_any_more_when_callers_are_stopped() -> None:
    before = set(threading.enumerate())
    with Predictor(backend=Engine()) as shared:
        load = Workload.of(shared)
        with _Calls(load, shared).running(8, 0):
            assert len(set(threading.enumerate()) - before) >= 8
        named = {thread.name for thread in set(threading.enumerate()) - before}
    assert named <= {"fer_edge"}  # which a stream of theirs may have left to be used again


HELD = Holdings(100, 5, 5)
SAME = (HELD, HELD)


def _windows(times_ms: list[float]) -> list[Window]:
    windows = [Window(samples=[100]) for _ in times_ms]
    for window, time_ms in zip(windows, times_ms, strict=True):
        for _ in range(1000):
            window.add(time_ms / 1e3)
    return windows


def test_calls_that_become_slow_are_found_and_noise_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    (defect,) = judge(_windows([10, 11, 10, 11, 12, 12.5, 13, 13.5]), 0, SAME, SAME)
    assert defect.startswith("p99 of 13.5")
    for last in (10, 11, 12, 5):
        assert judge(_windows([10, 11, 10, 11, 14, 9, 10, last]), 0, SAME, SAME) == ()


def test_a_window_without_an_answer_is_a_defect() -> None:
    windows = _windows([10] * 7)
    (defect,) = judge([*windows, Window(samples=[100])], 0, SAME, SAME)
    assert defect.startswith("p99 of inf")


@pytest.mark.parametrize(
    ("samples", "defect"),
    [
        ([], "there is no sample of the memory in the first or the last window"),
        ([103], "memory grew by 3.00%, allowed are 1%"),
    ],
)
def test_memory_is_compared_with_that_of_the_first_window(
    samples: list[int], defect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    windows = _windows([10] * 8)
    windows[-1].samples = samples
    assert judge(windows, 0, SAME, SAME) == (defect,)


@pytest.mark.parametrize(
    ("late", "defect"),
    [
        (Holdings(200, 6, 5), "6 file handles, at first 5"),
        (Holdings(200, 5, 6), "6 threads, at first 5"),
    ],
)
def test_what_is_held_while_nobody_calls_may_not_grow(late: Holdings, defect: str) -> None:
    assert judge(_windows([10] * 8), 0, (HELD, late), SAME) == (defect,)


def test_an_error_that_is_not_ours_is_a_wrong_answer() -> None:
    def fault(rows: np.ndarray) -> None:
        if called_by_a_worker() and len(rows) > 1:
            raise KeyError("lost")

    result = soaked(fault)
    assert result.wrong > 0
    assert "untyped KeyError" in result.examples[0]


@pytest.mark.parametrize(
    ("late", "defects"),
    [
        (Holdings(124, 5, 5), ()),
        (Holdings(126, 5, 5), ("memory grew by 26% from opening and closing",)),
        (Holdings(100, 6, 5), ("closing leaves file handles or threads behind",)),
        (Holdings(100, 5, 6), ("closing leaves file handles or threads behind",)),
    ],
)
def test_what_closing_leaves_behind_is_found(late: Holdings, defects: tuple[str, ...]) -> None:
    assert judge(_windows([10] * 8), 0, SAME, (HELD, late)) == defects


@pytest.mark.parametrize(("seconds", "workers"), [(0.5, 1), (float("nan"), 1), (60, 0)])
def test_a_soak_that_could_not_tell_is_refused(seconds: float, workers: int) -> None:
    with pytest.raises(ConfigurationError, match="a soak takes at least"):
        soak(Predictor, seconds, workers=workers)


def test_quantiles_of_times_are_within_a_percent() -> None:
    times = [0.0, *np.random.default_rng(0).lognormal(-7, 1, 5000), 1e5]
    window = Window()
    for one in times:
        window.add(one)
    for share in (0.5, 0.99, 1):
        assert window.quantile(share) == pytest.approx(np.quantile(times, share), rel=0.02)
    assert Window().quantile(0.99) is None


def test_what_a_process_holds_is_seen() -> None:
    before = observe()
    block, handle = np.ones(4 << 20), os.open(os.devnull, os.O_RDONLY)
    now = observe()
    os.close(handle)
    assert now.memory - before.memory > 16 << 20
    assert now.handles == before.handles + 1
    assert block.any()


def test_the_fewest_of_a_few_looks_count_and_no_idle_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thread that has done its work takes a moment to become one that waits."""
    found = {"fd": iter([9, 8, 9, 9, 9]), "task": iter([6, 6, 5, 6, 6])}
    monkeypatch.setattr("fer_bench.soak.observation._PAUSE_S", 0)
    monkeypatch.setattr("fer_edge.system.threads.idle", lambda: 2)
    monkeypatch.setattr(os, "listdir", lambda path: [""] * next(found[path.name]))
    held = observe()
    assert (held.handles, held.threads) == (7, 3)


@pytest.mark.long
def test_every_backend_holds_for_a_minute(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    checkpoint = root / "train" / "weights" / "mobilenet.safetensors"
    for cell in find_model("default").cells + find_model(checkpoint).cells:
        result = soak(lambda cell=cell: Predictor(cell.path, backend=cell.backend), 60.0)
        # the latency of a minute on a machine that tests share says nothing
        assert [one for one in result.defects if not one.startswith("p99")] == [], cell.name
