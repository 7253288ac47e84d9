"""A soak passes what holds, and names what does not: each defect is put in on purpose."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_results import SOAKED

from fer_bench.regression.cells import find_model
from fer_bench.soak import run
from fer_bench.soak.load import _KINDS, Workload
from fer_bench.soak.observation import Holdings, Window, observe
from fer_bench.soak.run import _Calls, allowed_p99, judge, soak
from fer_edge import ConfigurationError, InputError, Predictor
from fer_edge.artifacts.spec import InputSpec, ModelSpec, NetworkSpec
from fer_edge.backends import Backend, EngineInfo

SECONDS = 1.0


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


def test_answers_that_threads_mix_up_are_found() -> None:
    """A buffer that calls share: right for one thread, wrong for two."""
    buffer = np.zeros((16, 7))

    def fault(probabilities: np.ndarray) -> None:
        buffer[: len(probabilities)] = probabilities
        time.sleep(0.001)
        probabilities[:] = buffer[: len(probabilities)]

    assert soaked(fault).wrong > 0


def steps(opened: Predictor, kind: str) -> list[str]:
    """What is wrong with ten calls of a kind, by one thread; the answers expected are sound."""
    with Predictor(backend=Engine()) as sound:
        load = Workload.of(sound)
    rng = np.random.default_rng(0)
    with opened, pytest.MonkeyPatch.context() as patch:
        patch.setattr("fer_bench.soak.load._KINDS", {kind: (1.0, _KINDS[kind][1])})
        results = [load.step(opened, rng) for _ in range(10)]
    return [result.wrong for result in results if result.wrong]


class Misreading(Predictor):
    """Mixes up the answers of a stream."""

    def predict_stream(self, *arguments: Any, **options: Any) -> Any:
        given = super().predict_stream(*arguments, **options)
        return nullcontext(reversed(list(given)))


class Losing(Predictor):
    """Gives no answers to a stream."""

    def predict_stream(self, *_arguments: Any, **_options: Any) -> Any:
        return nullcontext(iter(()))


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


def turned(probabilities: np.ndarray) -> None:
    probabilities[0] = probabilities[0][::-1].copy()


def lost(probabilities: np.ndarray) -> None:
    raise KeyError("lost")


@pytest.mark.parametrize(
    ("predictor", "fault", "kind", "wrong"),
    [
        (Predictor, turned, "one", "one: a probability is off by"),
        (Predictor, turned, "batch", "batch: a probability is off by"),
        (Predictor, lost, "one", "one: untyped KeyError: 'lost'"),
        (Misreading, None, "stream", "stream: "),
        (Losing, None, "stream", "stream: 0 of . items came"),
        (Misnaming, None, "in a batch", "crop . was bad, . is named"),
        (Misnaming, None, "stream", "was refused, not item"),
    ],
)
def test_a_wrong_answer_is_found(
    predictor: type[Predictor], fault: Any, kind: str, wrong: str
) -> None:
    found = steps(predictor(backend=Engine(fault) if fault else Engine()), kind)
    assert found
    assert any(re.search(wrong, one) for one in found), found


def test_memory_handles_and_threads_that_stay_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = count(100_000_000, 10_000_000)
    monkeypatch.setattr(run, "resident_memory", lambda: next(seen))
    opened: list[int] = []
    done, started = threading.Event(), [time.monotonic()]

    def fault(_: np.ndarray) -> None:
        if called_by_a_worker() and len(opened) < 1000:
            opened.append(os.open(os.devnull, os.O_RDONLY))
        if called_by_a_worker() and time.monotonic() - started[-1] > 0.05:
            started.append(time.monotonic())
            threading.Thread(target=done.wait, daemon=True).start()

    try:
        result = soaked(fault)
    finally:
        done.set()
        for handle in opened:
            os.close(handle)
    for defect in ("memory grew by", "file handles, at first", "threads, at first"):
        assert any(defect in one for one in result.defects), defect


def test_nobody_calls_any_more_when_callers_are_stopped() -> None:
    before = set(threading.enumerate())
    with Predictor(backend=Engine()) as shared:
        load = Workload.of(shared)
        with _Calls(load, shared).running(8, 0):
            assert len(set(threading.enumerate()) - before) >= 8
        named = {thread.name for thread in set(threading.enumerate()) - before}
    assert named <= {"fer_edge"}  # which a stream of theirs may have left to be used again


HELD = Holdings(100, 5, 5)


@pytest.mark.parametrize(
    ("measured", "defects"),
    [
        ({}, []),
        ({"wrong": 3}, ["3 wrong answers"]),
        ({"memory_growth": 0.03}, ["memory grew by 3.00%, allowed are 1%"]),
        ({"handles_last": 6}, ["6 file handles, at first 5"]),
        ({"threads_last": 2}, ["2 threads, at first 1"]),
        ({"p99_last_ms": 2.4}, ["p99 of 2.40 ms at the end, allowed are 2.30"]),
        ({"p99_last_ms": 0.0}, ["p99 of inf ms at the end, allowed are 2.30"]),
    ],
)
def test_a_verdict_names_what_does_not_hold(
    measured: dict[str, Any], defects: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    assert list(judge(replace(SOAKED, **measured), HELD, HELD)) == defects


@pytest.mark.parametrize(
    ("late", "defects"),
    [
        (Holdings(124, 5, 5), []),
        (Holdings(126, 5, 5), ["memory grew by 26% from opening and closing"]),
        (Holdings(100, 6, 5), ["closing leaves file handles or threads behind"]),
        (Holdings(100, 5, 6), ["closing leaves file handles or threads behind"]),
    ],
)
def test_what_closing_leaves_behind_is_found(late: Holdings, defects: list[str]) -> None:
    assert list(judge(SOAKED, HELD, late)) == defects


def test_the_slowest_window_of_the_first_half_says_what_is_noise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    windows = [Window() for _ in range(4)]
    for window, time_ms in zip(windows, (10, 11, 14, 5), strict=True):
        window.add(time_ms / 1e3)
    assert allowed_p99(windows) == pytest.approx(1.15 * 0.011, rel=0.01)


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
    assert Window().quantile(0.99) == 0


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
