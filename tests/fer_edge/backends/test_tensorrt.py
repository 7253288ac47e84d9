"""The TensorRT backend, on doubles that stand on the real bindings; ONNX Runtime computes."""

from __future__ import annotations

import logging
import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cuda.bindings", reason="no cuda-python, on which the double stands")

from tensorrt_double.cuda import CudaDouble
from tensorrt_double.engine import TensorRtDouble, plan_bytes
from tensorrt_double.plans import CLOSE, Answer, Open, Plan, crops

from fer_edge.errors import ClosedError, FerEdgeError

# ---- answers


def test_it_gives_the_answers_of_the_model(opened: Open, tiny_answer: Answer) -> None:
    engine = opened()
    for seed, count in enumerate((1, 2, 4, 3, 2, 1, 4)):
        batch = crops(count, seed)
        for given, exact in zip(engine.infer(batch), tiny_answer(batch), strict=True):
            assert given.dtype == np.float32
            assert given == pytest.approx(exact, abs=CLOSE)


def test_answers_are_the_callers_to_keep(opened: Open, tiny_answer: Answer) -> None:
    engine = opened()
    first, second = crops(2, 1), crops(2, 2)
    kept = engine.infer(first)
    engine.infer(second)
    for given, exact in zip(kept, tiny_answer(first), strict=True):
        assert given == pytest.approx(exact, abs=CLOSE)


def test_a_static_plan_takes_its_own_batch(
    opened: Open, plan: Plan, tiny_artifact: Path, tiny_answer: Answer, tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx", reason="no onnx to make a static model with")
    model = onnx.load(tiny_artifact)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 2
    plan.change(plan_bytes(model.SerializeToString(), batches=None, layers=[], detailed=True))
    engine = opened()
    assert engine.engine.max_batch == 2
    for count in (1, 2):
        given, exact = engine.infer(crops(count)), tiny_answer(crops(count))
        assert [len(part) for part in given] == [count, count]
        assert given[1] == pytest.approx(exact[1], abs=CLOSE)


def test_32_threads_get_the_right_answers(opened: Open, tiny_answer: Answer) -> None:
    engine = opened(goal="throughput")

    def right(seed: int) -> bool:
        batch = crops(seed % 4 + 1, seed)
        _, probabilities = engine.infer(batch)
        return bool(np.abs(probabilities - tiny_answer(batch)[1]).max() < CLOSE)

    with ThreadPoolExecutor(32) as threads:
        assert all(threads.map(right, range(200)))


# ---- speed: what is made once


def test_each_batch_size_is_captured_once_and_launched_afterwards(
    opened: Open, cuda: CudaDouble, tensorrt: TensorRtDouble
) -> None:
    engine = opened()
    for _ in range(3):
        for count in (1, 4):
            engine.infer(crops(count))
    names = [name for name, _ in cuda.calls]
    assert names.count("cudaStreamBeginCapture") == 2
    assert names.count("cudaGraphLaunch") == 4
    assert tensorrt.contexts == 2


def test_many_batch_sizes_share_a_few_contexts(
    opened: Open, plan: Plan, tiny_artifact: Path, tiny_answer: Answer, tensorrt: TensorRtDouble
) -> None:
    model = tiny_artifact.read_bytes()
    data = plan_bytes(model, batches=(1, 1, 24), layers=[], detailed=True)
    plan.change(data, max_batch=24)
    engine = opened()
    for count in range(1, 25):
        batch = crops(count, count)
        logits, probabilities = engine.infer(batch)
        assert len(logits) == len(probabilities) == count
        assert probabilities == pytest.approx(tiny_answer(batch)[1], abs=CLOSE)
    assert tensorrt.contexts == len((1, 2, 4, 8, 16, 24))


def test_the_gpu_that_was_asked_for_is_used_and_the_threads_own_is_given_back(
    opened: Open, cuda: CudaDouble
) -> None:
    engine = opened(device="cuda:1")
    assert cuda.device == 0
    engine.infer(crops(1))
    engine.close()
    used = [values for name, values in cuda.calls if name == "cudaSetDevice"]
    assert used == [(1,), (0,)] * 3
    assert [v for name, v in cuda.calls if name == "cudaGetDeviceProperties"] == [(1,)]


def test_a_plan_for_an_accelerator_is_loaded_on_its_core(
    opened: Open, plan: Plan, tensorrt: TensorRtDouble
) -> None:
    plan.change(dla_core=1)
    opened()
    assert tensorrt.dla_core == 1


def test_lanes_make_their_contexts_one_after_the_other(
    opened: Open, backend: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They share an engine, whose other calls may come side by side."""
    make, alone = backend._Lane._context, []

    def record(lane: Any, rows: int) -> Any:
        alone.append((lane._preparing, lane._preparing.locked()))
        return make(lane, rows)

    monkeypatch.setattr(backend._Lane, "_context", record)
    pool = opened()._pool  # type: ignore[attr-defined]
    with pool.borrow() as first, pool.borrow() as second:
        first.infer(crops(2))
        second.infer(crops(2))
    assert alone == [(first._preparing, True)] * 2


def test_memory_is_allocated_once_and_all_of_it_freed(opened: Open, cuda: CudaDouble) -> None:
    engine = opened()
    before = cuda.held()
    for count in (1, 2, 3, 4, 1, 2):
        engine.infer(crops(count))
    assert {**cuda.held(), "graphs": 0} == {**before, "graphs": 0}
    engine.close()
    assert cuda.held() == {}


def test_no_more_lanes_are_made_than_the_engine_says(opened: Open, cuda: CudaDouble) -> None:
    engine = opened(goal="throughput")
    with ThreadPoolExecutor(32) as threads:
        list(threads.map(lambda seed: engine.infer(crops(1, seed)), range(64)))
    assert cuda.held()["streams"] <= engine.engine.concurrency == 4


@pytest.mark.parametrize(("spinning", "blocks"), [(False, True), (True, False)])
def test_spinning_is_a_choice(opened: Open, cuda: CudaDouble, spinning: bool, blocks: bool) -> None:
    opened(spinning=spinning)
    (flags,) = [values[0] for name, values in cuda.calls if name == "cudaEventCreateWithFlags"]
    assert bool(flags & cuda.cudaEventBlockingSync) is blocks


# ---- what it tells


def test_it_says_what_it_runs(opened: Open, plan: Plan, tensorrt: TensorRtDouble) -> None:
    engine = opened()
    assert engine.spec == plan.sidecar.spec
    told = engine.engine
    assert (told.name, told.version) == ("tensorrt", tensorrt.bindings.__version__)
    assert told.provider == str(plan.sidecar.gpu)
    assert (told.inference_precision, told.threads) == ("fp16", None)
    assert (told.concurrency, told.max_batch) == (2, 4)


def test_warnings_of_tensorrt_reach_the_log(
    backend: ModuleType, tensorrt: TensorRtDouble, caplog: pytest.LogCaptureFixture
) -> None:
    levels = tensorrt.bindings.ILogger
    log = backend.EngineLog()
    with caplog.at_level(logging.DEBUG):
        log.log(levels.VERBOSE, "chatter")
        log.log(levels.INFO, "chatter")
        log.log(levels.WARNING, "mind\n this")
        log.log(levels.ERROR, "broken")
        log.log(levels.INTERNAL_ERROR, "badly")
    assert [record.getMessage() for record in caplog.records] == ["TensorRT: mind this"]
    assert log.reason() == "broken; badly"
    assert log.reason() == "TensorRT gave no reason"
    log.log(levels.ERROR, "Skipping tactic")
    log.clear()
    assert log.reason() == "TensorRT gave no reason"


def test_the_last_errors_are_the_reason(backend: ModuleType, tensorrt: TensorRtDouble) -> None:
    log = backend.EngineLog()
    for number in range(100):
        log.log(tensorrt.bindings.ILogger.ERROR, f"reason {number}")
    assert log.reason().endswith("reason 98; reason 99")


# ---- the end


def test_after_close_it_is_closed_and_may_be_closed_again(opened: Open) -> None:
    engine = opened()
    engine.close()
    engine.close()
    with pytest.raises(ClosedError, match="TensorRT"):
        engine.infer(crops(1))


def test_closing_lets_calls_under_way_finish(
    opened: Open, cuda: CudaDouble, tiny_answer: Answer
) -> None:
    engine, batch = opened(), crops(2)
    working, go = threading.Event(), threading.Event()
    real = cuda.view

    def slow(*arguments: Any) -> memoryview:
        working.set()
        assert go.wait(10)
        return real(*arguments)

    cuda.view = slow  # type: ignore[method-assign]
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(engine.infer, batch)
        assert working.wait(10)
        engine.close()
        assert cuda.held()["streams"] == 1
        go.set()
        assert answer.result(10)[1] == pytest.approx(tiny_answer(batch)[1], abs=CLOSE)
    assert cuda.held() == {}


def test_a_forked_child_is_told_to_open_its_own(opened: Open, cuda: CudaDouble) -> None:
    engine = opened()
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def child() -> None:
        try:
            engine.infer(crops(1))
            sender.send("it ran")
        except FerEdgeError as problem:
            engine.close()
            sender.send(f"{type(problem).__name__}: {problem} {len(cuda.held())}")

    held = len(cuda.held())
    process = context.Process(target=child)
    process.start()
    told = receiver.recv()
    process.join(10)
    assert told.startswith("EngineError")
    assert "spawn" in told
    assert told.endswith(str(held))  # the child freed nothing that the parent uses
    engine.infer(crops(1))
