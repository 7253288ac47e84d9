"""The TensorRT backend, on doubles that stand on the real bindings; ONNX Runtime computes."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("cuda.bindings", reason="no cuda-python, on which the double stands")

from tensorrt_double.cuda import GPU, CudaDouble
from tensorrt_double.engine import TensorRtDouble, plan_bytes

from fer_edge.artifacts.artifact import Artifact
from fer_edge.artifacts.plan import Gpu, PlanSidecar, sidecar_path, trust_plan
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.backends import Backend, BackendOptions
from fer_edge.errors import (
    ArtifactError,
    ClosedError,
    ConfigurationError,
    EngineError,
    FerEdgeError,
    InputError,
)

Crops = npt.NDArray[np.uint8]
Answer = Callable[[Crops], tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]
BATCHES = (1, 2, 4)
CLOSE = 1e-4


@dataclasses.dataclass
class Plan:
    """A plan beside its sidecar, as an export leaves them; changes make other cases of it."""

    path: Path
    data: bytes
    sidecar: PlanSidecar

    def artifact(self, *, spec: ModelSpec | None = None, bare: bool = False) -> Artifact:
        self.sidecar.write(self.path)
        name = sidecar_path(self.path)
        companions = {} if bare else {name.name: name.read_bytes()}
        digest = hashlib.sha256(self.data).hexdigest()
        return Artifact(self.path, "tensorrt", self.data, digest, companions, spec)

    def change(self, **changes: Any) -> None:
        """Another plan of this machine."""
        self.sidecar = dataclasses.replace(self.sidecar, **changes)
        self.trust()

    def trust(self) -> None:
        self.sidecar.write(self.path)
        trust_plan(self.sidecar.plan_sha256, self.path)


@pytest.fixture
def plan(
    tiny_artifact: Path, tiny_spec: ModelSpec, tensorrt: TensorRtDouble, tmp_path: Path
) -> Plan:
    data = plan_bytes(tiny_artifact.read_bytes(), batches=BATCHES, layers=[], detailed=True)
    name, major, minor, multiprocessors = GPU
    sidecar = PlanSidecar(
        spec=tiny_spec,
        plan_sha256=hashlib.sha256(data).hexdigest(),
        tensorrt=tensorrt.bindings.__version__,
        gpu=Gpu(name, f"{major}.{minor}", multiprocessors),
        min_batch=BATCHES[0],
        opt_batch=BATCHES[1],
        max_batch=BATCHES[2],
        inference_precision="fp16",
    )
    plan = Plan(tmp_path / "model.plan", data, sidecar)
    plan.trust()
    return plan


Open = Callable[..., Backend]


@pytest.fixture
def opened(backend: ModuleType, plan: Plan) -> Iterator[Open]:
    """Open the plan with options; whatever was opened is closed at the end."""
    held: list[Backend] = []

    def make(artifact: Artifact | None = None, **options: Any) -> Backend:
        chosen = plan.artifact() if artifact is None else artifact
        held.append(backend.TensorRtBackend(chosen, BackendOptions(**options)))
        return held[-1]

    yield make
    for item in held:
        item.close()


def crops(count: int, seed: int = 0) -> Crops:
    return np.random.default_rng(seed).integers(0, 256, (count, 48, 48, 1), np.uint8)


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
    plan.data = plan_bytes(model.SerializeToString(), batches=None, layers=[], detailed=True)
    plan.change(plan_sha256=hashlib.sha256(plan.data).hexdigest())
    engine = opened(trust=True)
    assert engine.engine.max_batch == 2
    for count in (1, 2):
        given, exact = engine.infer(crops(count)), tiny_answer(crops(count))
        assert [len(part) for part in given] == [count, count]
        assert given[1] == pytest.approx(exact[1], abs=CLOSE)
    with pytest.raises(InputError, match="at most 2"):
        engine.infer(crops(3))


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
    plan.data = plan_bytes(tiny_artifact.read_bytes(), batches=(1, 1, 24), layers=[], detailed=True)
    plan.change(plan_sha256=hashlib.sha256(plan.data).hexdigest(), max_batch=24)
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


# ---- trust


def test_a_plan_from_elsewhere_is_not_even_read(
    backend: ModuleType, plan: Plan, home: Path, tensorrt: TensorRtDouble
) -> None:
    for record in home.rglob("*.json"):
        record.unlink()
    tensorrt.gpu = False  # a runtime that is asked for would raise another error
    with pytest.raises(ArtifactError, match="native code that no export on this machine"):
        backend.TensorRtBackend(plan.artifact(), BackendOptions())


def test_a_plan_from_elsewhere_opens_for_who_trusts_it(
    opened: Open, home: Path, tiny_answer: Answer
) -> None:
    for record in home.rglob("*.json"):
        record.unlink()
    answer = opened(trust=True).infer(crops(1))[1]
    assert answer == pytest.approx(tiny_answer(crops(1))[1], abs=CLOSE)


def test_a_sidecar_that_was_edited_is_refused(opened: Open, plan: Plan) -> None:
    plan.sidecar = dataclasses.replace(plan.sidecar, max_batch=64)
    with pytest.raises(ArtifactError, match=r"model\.plan\.json was changed since"):
        opened()
    assert opened(trust=True).engine.max_batch == BATCHES[2]


def test_a_changed_plan_is_refused_though_its_name_is_known(opened: Open, plan: Plan) -> None:
    plan.data += b"!"
    with pytest.raises(ArtifactError, match="damaged, or"):
        opened(trust=True)


def test_host_code_runs_only_for_a_version_compatible_plan(
    opened: Open, plan: Plan, tensorrt: TensorRtDouble
) -> None:
    opened()
    assert tensorrt.host_code_allowed is False
    plan.change(version_compatible=True)
    opened()
    assert tensorrt.host_code_allowed is True


# ---- what it refuses


def test_a_plan_for_another_gpu_says_how_to_get_one(opened: Open, plan: Plan) -> None:
    plan.change(gpu=Gpu("Thor", "11.0", 20))
    with pytest.raises(ArtifactError, match=r"built for Thor.*Double of a GPU.*--from-onnx"):
        opened()


def test_a_plan_of_another_power_mode_names_it(opened: Open, plan: Plan) -> None:
    plan.change(gpu=dataclasses.replace(plan.sidecar.gpu, multiprocessors=8))
    with pytest.raises(ArtifactError, match=r"8 multiprocessors.*power mode.*nvpmodel -q"):
        opened()


@pytest.mark.parametrize(
    ("hardware", "gpu", "runs"),
    [
        ("same-compute-capability", Gpu("Other", "8.7", 99), True),
        ("same-compute-capability", Gpu("Other", "8.6", 16), False),
        ("ampere-plus", Gpu("Other", "8.0", 99), True),
    ],
)
def test_a_plan_for_several_gpus_runs_on_them(
    opened: Open, plan: Plan, hardware: str, gpu: Gpu, runs: bool
) -> None:
    plan.change(gpu=gpu, hardware=hardware)
    if runs:
        opened()
    else:
        with pytest.raises(ArtifactError, match="built for Other"):
            opened()


def test_a_plan_of_another_tensorrt_says_how_to_get_one(opened: Open, plan: Plan) -> None:
    plan.change(tensorrt="9.9.9")
    with pytest.raises(ArtifactError, match=r"built by TensorRT 9\.9\.9.*--from-onnx"):
        opened()


def test_a_plan_that_tensorrt_refuses_gives_tensorrts_reason(opened: Open, plan: Plan) -> None:
    plan.data = b"no engine"
    plan.change(plan_sha256=hashlib.sha256(plan.data).hexdigest())
    with pytest.raises(ArtifactError, match=r"refuses .*model\.plan: Magic tag does not match"):
        opened(trust=True)


def test_without_a_gpu_it_is_one_line(opened: Open, cuda: CudaDouble) -> None:
    cuda.failing["cudaGetDeviceProperties"] = cuda.cudaError_t.cudaErrorNoDevice
    with pytest.raises(EngineError, match="no usable GPU") as caught:
        opened()
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)


def test_a_runtime_that_does_not_start_is_one_line(opened: Open, tensorrt: TensorRtDouble) -> None:
    tensorrt.gpu = False
    with pytest.raises(EngineError, match="does not start; it needs a usable GPU") as caught:
        opened()
    assert "\n" not in str(caught.value)


def test_a_full_gpu_shows_when_the_plan_is_opened(opened: Open, cuda: CudaDouble) -> None:
    cuda.failing["cudaMalloc"] = cuda.cudaError_t.cudaErrorMemoryAllocation
    with pytest.raises(EngineError, match="cudaErrorMemoryAllocation"):
        opened()
    assert cuda.held() == {}


@pytest.mark.parametrize("count", [5, 64])
def test_a_batch_above_the_profile_is_refused(opened: Open, count: int) -> None:
    with pytest.raises(InputError, match=rf"a batch of {count} crops.*at most 4.*--max-batch"):
        opened().infer(crops(count))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cpu"}, "auto, cuda"),
        ({"device": "cuda:"}, "cuda:1 for the second GPU"),
        ({"device": "cuda:x"}, "cuda:1 for the second GPU"),
        ({"device": "auto:0"}, "cuda:1 for the second GPU"),
        ({"threads": 2}, "threads=2; leave it out"),
        ({"compiled": True}, "compiled=True; leave it out"),
        ({"inference_precision": "bf16"}, "computes in fp16"),
    ],
)
def test_a_wish_that_cannot_be_met_is_refused(
    opened: Open, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        opened(**options)


@pytest.mark.parametrize(
    "options", [{"device": "cuda"}, {"device": "cuda:0"}, {"inference_precision": "fp16"}]
)
def test_a_wish_that_is_met_is_no_error(opened: Open, options: dict[str, Any]) -> None:
    assert opened(**options).engine.inference_precision == "fp16"


def test_a_plan_that_does_not_fit_its_spec_is_refused(
    opened: Open, plan: Plan, tiny_spec: ModelSpec
) -> None:
    other = dataclasses.replace(tiny_spec.input, height=32)
    plan.change(spec=tiny_spec.with_changes(input=other))
    with pytest.raises(ArtifactError, match="does not fit its own spec"):
        opened()


def test_a_bare_plan_opens_with_the_callers_spec(
    opened: Open, plan: Plan, tiny_spec: ModelSpec
) -> None:
    engine = opened(plan.artifact(spec=tiny_spec, bare=True))
    assert engine.spec == tiny_spec
    assert engine.engine.inference_precision == "unknown"
    wide = dataclasses.replace(tiny_spec.input, width=96)
    other = plan.artifact(spec=tiny_spec.with_changes(input=wide), bare=True)
    with pytest.raises(ArtifactError, match="does not fit the spec that was given"):
        opened(other)


def test_a_bare_plan_without_a_spec_says_what_it_lacks(opened: Open, plan: Plan) -> None:
    with pytest.raises(ArtifactError, match=r"no model\.plan\.json beside it"):
        opened(plan.artifact(bare=True))


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


# ---- what is not installed


def imported_beside(package: str, folder: Path) -> str:
    """What the import of the backend raises where ``tensorrt`` is this source."""
    (folder / "tensorrt.py").write_text(package)
    code = (
        "try:\n"
        "    import fer_edge.backends.tensorrt\n"
        "except Exception as problem:\n"
        "    print(type(problem).__name__, getattr(problem, 'exit_code', None), problem)\n"
        "from fer_edge.cli.diagnosis import _check_backend\n"
        "print(_check_backend('tensorrt').ok)\n"
    )
    paths = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    return done.stdout


@pytest.mark.parametrize("version", ["8.6.2", "10.2.0.post1"])
def test_a_tensorrt_that_is_too_old_says_what_brings_a_newer_one(
    version: str, tmp_path: Path
) -> None:
    said = imported_beside(f"__version__ = {version!r}\n", tmp_path)
    assert said.startswith("MissingDependencyError 3 TensorRT 10.3 or later is not installed")
    assert f"{version} is installed" in said
    assert "JetPack 6.1 or later" in said
    assert said.endswith("False\n")  # so doctor does not call it usable


def test_a_library_that_is_missing_is_named(tmp_path: Path) -> None:
    problem = "libnvonnxparser.so.11: cannot open shared object file: No such file or directory"
    said = imported_beside(f"raise ImportError({problem!r})\n", tmp_path)
    assert said.startswith("MissingDependencyError 3 libnvonnxparser.so.11 is not installed")
    assert "LD_LIBRARY_PATH" in said


def test_any_other_failure_of_the_import_is_not_hidden(tmp_path: Path) -> None:
    assert imported_beside("raise ImportError('broken')\n", tmp_path).startswith("ImportError None")


def test_without_tensorrt_it_says_where_it_comes_from() -> None:
    code = (
        "import sys\n"
        "sys.modules['tensorrt'] = None\n"
        "try:\n"
        "    import fer_edge.backends.tensorrt\n"
        "except Exception as problem:\n"
        "    print(type(problem).__name__, problem)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("MissingDependencyError tensorrt is not installed")
    assert "JetPack" in done.stdout
