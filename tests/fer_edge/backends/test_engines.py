"""What holds of every engine: the same answers, from many threads, until it is closed."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fer_edge.artifacts.artifact import Artifact
from fer_edge.backends import Backend, BackendOptions, backend_class
from fer_edge.errors import ClosedError, ConfigurationError, EngineError

pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")
pytest.importorskip("torch")

ENGINES = ("onnxruntime", "openvino-onnx", "openvino", "torch")

Crops = Callable[..., npt.NDArray[np.uint8]]
Open = Callable[..., Backend]


@pytest.fixture
def open_engine(small_artifacts: dict[str, Artifact]) -> Any:
    """Open the small network in an engine; it is closed after the test."""
    opened: list[Backend] = []

    def open_one(engine: str, **options: Any) -> Backend:
        kind = backend_class(engine.partition("-")[0])
        opened.append(kind(small_artifacts[engine], BackendOptions(**options)))
        return opened[-1]

    yield open_one
    for backend in opened:
        backend.close()


@pytest.mark.parametrize("goal", ["latency", "throughput"])
def test_all_engines_give_the_same_answers_in_fp32(
    open_engine: Open, crops: Crops, goal: str
) -> None:
    backends = [open_engine(engine, goal=goal) for engine in ENGINES]
    for count in (1, 2, 33):
        batch = crops(count, seed=count)
        (first_logits, first), *others = (backend.infer(batch) for backend in backends)
        assert np.ptp(first, axis=0).max() > 1e-3 or count == 1  # the answers depend on the crops
        for logits, probabilities in others:
            assert np.abs(probabilities - first).max() < 1e-5
            assert logits == pytest.approx(first_logits, abs=1e-4)


@pytest.mark.parametrize("engine", ENGINES)
def test_it_says_what_it_runs_on_and_that_it_computes_in_fp32(
    open_engine: Open, engine: str
) -> None:
    name = engine.partition("-")[0]
    info = open_engine(engine, threads=1).engine
    provider = {"onnxruntime": "CPUExecutionProvider", "openvino": "CPU", "torch": "cpu"}[name]
    assert (info.name, info.provider, info.inference_precision) == (name, provider, "fp32")
    assert (info.threads, info.concurrency) == (1, 1)
    assert sys.modules[name].__version__.startswith(info.version)


@pytest.mark.parametrize("engine", ENGINES)
def test_its_spec_comes_from_the_artifact(
    open_engine: Open, small_spec: object, engine: str
) -> None:
    assert open_engine(engine).spec == small_spec


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("engine", ENGINES)
def test_what_it_returns_stays_as_it_is(
    open_engine: Open, crops: Crops, engine: str, count: int
) -> None:
    backend = open_engine(engine)
    given = backend.infer(crops(count))
    kept = [values.copy() for values in given]
    for seed in range(1, 4):
        backend.infer(crops(count, seed=seed))
    for values, before in zip(given, kept, strict=True):
        assert values.dtype == np.float32
        assert np.array_equal(values, before)


@pytest.mark.parametrize("engine", ENGINES)
def test_it_reads_arrays_that_may_not_be_written(
    open_engine: Open, crops: Crops, engine: str
) -> None:
    backend, batch = open_engine(engine), crops(2)
    expected = backend.infer(batch)[1]
    batch.flags.writeable = False
    assert np.array_equal(backend.infer(batch)[1], expected)


@pytest.mark.parametrize("goal", ["latency", "throughput"])
@pytest.mark.parametrize("engine", ENGINES)
def test_32_threads_get_their_own_answers(
    open_engine: Open, crops: Crops, engine: str, goal: str
) -> None:
    backend = open_engine(engine, goal=goal)
    batches = [crops(1 + index % 2, seed=index) for index in range(64)]
    expected = [backend.infer(batch)[1] for batch in batches]
    with ThreadPoolExecutor(32) as threads:
        given = list(threads.map(lambda batch: backend.infer(batch)[1], batches))
    for answer, right in zip(given, expected, strict=True):
        assert answer == pytest.approx(right, abs=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_closed_while_others_infer_they_finish_or_hear_of_it(
    open_engine: Open, crops: Crops, engine: str
) -> None:
    backend, batch = open_engine(engine), crops(2)
    right = backend.infer(batch)[1]
    started, problems, finished = threading.Barrier(9), [], []

    def use() -> None:
        started.wait()
        try:
            while True:
                finished.append(bool(np.abs(backend.infer(batch)[1] - right).max() < 1e-5))
        except ClosedError:
            return
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    started.wait()
    while len(finished) < 8 and not problems:
        time.sleep(0.001)
    backend.close()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert not problems
    assert all(finished)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("engine", ENGINES)
def test_closed_it_infers_no_more(open_engine: Open, crops: Crops, engine: str, count: int) -> None:
    backend = open_engine(engine)
    backend.infer(crops(1))
    backend.close()
    backend.close()
    with pytest.raises(ClosedError, match="is closed"):
        backend.infer(crops(count))


@pytest.mark.parametrize(
    ("engine", "known", "devices"),
    [
        ("onnxruntime", "auto, cpu, cuda, tensorrt", ["gpu", "cpu:0", "cuda:x", "cuda:", ""]),
        ("openvino", "auto, cpu, gpu, npu", ["cuda", "tpu", "", "gpu:1", "cpu,gpu"]),
        ("torch", "auto, cpu, cuda", ["gpu", "cpu:0", "cuda:x", "mps"]),
    ],
)
def test_an_unknown_device_lists_the_known_ones(
    open_engine: Open, engine: str, known: str, devices: list[str]
) -> None:
    for device in devices:
        with pytest.raises(ConfigurationError, match=f"no device '{device}'; there are {known}"):
            open_engine(engine, device=device)


@pytest.mark.parametrize(
    ("engine", "option"),
    [
        ("onnxruntime", "compiled"),
        ("openvino", "spinning"),
        ("openvino", "compiled"),
        ("torch", "spinning"),
    ],
)
def test_a_setting_that_it_lacks_is_refused(open_engine: Open, engine: str, option: str) -> None:
    with pytest.raises(ConfigurationError, match=f"no setting {option}=True; leave it out"):
        open_engine(engine, **{option: True})


@pytest.mark.parametrize(("engine", "device"), [("onnxruntime", "cuda"), ("torch", "cuda:63")])
def test_a_device_that_is_not_there_is_the_engines_error(
    open_engine: Open, engine: str, device: str
) -> None:
    with pytest.raises(EngineError):
        open_engine(engine, device=device)


@pytest.mark.parametrize(
    ("engine", "cores", "threads"), [("onnxruntime", 6, 3), ("openvino", 2, 1)]
)
def test_by_default_half_of_the_cores_are_left_to_others(
    open_engine: Open, monkeypatch: pytest.MonkeyPatch, engine: str, cores: int, threads: int
) -> None:
    monkeypatch.setattr("fer_edge.system.cores.usable_cores", lambda: cores)
    assert open_engine(engine).engine.threads == threads
