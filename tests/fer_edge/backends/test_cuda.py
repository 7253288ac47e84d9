"""Lanes of CUDA: on a real GPU where there is one, and on a host that plays one."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any
from weakref import WeakSet

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("cuda.bindings", reason="no cuda-python, on which the double stands")

from tensorrt_double.cuda import GPU, CudaDouble

from fer_edge.artifacts.plan import Gpu
from fer_edge.backends import cuda
from fer_edge.backends.cuda import CudaLane, describe_gpu, on_gpu
from fer_edge.errors import EngineError, MissingDependencyError
from fer_edge.system import forking

THREE = np.dtype((np.uint8, (3,)))
INPUTS = {"x": THREE}
OUTPUTS = {"same": THREE, "marks": THREE}
ROWS, MARK = 4, 7


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> CudaDouble:
    double = CudaDouble()
    monkeypatch.setattr(cuda, "cudart", double)
    return double


@pytest.fixture
def lane(host: CudaDouble) -> CudaLane:
    return CudaLane(INPUTS, OUTPUTS, ROWS, scratch_bytes=16)


def doubling(host: CudaDouble, lane: CudaLane, calls: list[int]) -> Callable[[int], None]:
    """Work that a graph could not know: each input times two."""

    def enqueue(stream: int) -> None:
        calls.append(stream)

        def work() -> None:
            given = np.frombuffer(host.view(lane.addresses["x"], 12), np.uint8)
            host.view(lane.addresses["same"], 12)[:] = (given * 2).tobytes()

        host.enqueue(stream, work)

    return enqueue


def rows(start: int, count: int = 2) -> npt.NDArray[np.uint8]:
    return np.arange(start, start + 3 * count, dtype=np.uint8).reshape(count, 3)


# ---- on a real GPU


@pytest.fixture
def gpu() -> Gpu:
    try:
        return describe_gpu(0)
    except EngineError as problem:
        pytest.skip(f"no CUDA GPU to run on: {problem}")


@pytest.mark.parametrize("spinning", [False, True])
def test_a_gpu_runs_whatever_work_a_lane_is_given(gpu: Gpu, spinning: bool) -> None:
    """A copy on the device and a fill: first directly, then from the graph."""
    assert float(gpu.compute_capability) > 0
    lane = CudaLane(INPUTS, OUTPUTS, ROWS, scratch_bytes=1 << 10, spinning=spinning)
    runtime = cuda.cudart
    calls = []

    def enqueue(stream: int) -> None:
        calls.append(stream)
        kind = runtime.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        there, here = lane.addresses["same"], lane.addresses["x"]
        cuda._check("copy", runtime.cudaMemcpyAsync(there, here, 3 * ROWS, kind, stream))
        fill = runtime.cudaMemsetAsync(lane.addresses["marks"], MARK, 3 * ROWS, stream)
        cuda._check("fill", fill)

    for start in (1, 50, 100):
        for count in (2, 3):
            lane.inputs["x"][:count] = rows(start, count)
            lane.outputs["marks"][:] = 0
            lane.run(count, enqueue)
            assert (lane.outputs["same"][:count] == rows(start, count)).all()
            assert (lane.outputs["marks"][:count] == MARK).all()
            assert (lane.outputs["marks"][count:] == 0).all()
    assert len(calls) == 4  # for each of the two sizes once to work, and once to be captured
    lane.close()
    lane.close()


def test_many_lanes_of_a_gpu_work_side_by_side(gpu: Gpu) -> None:
    wrong = []

    def serve(number: int) -> None:
        lane = CudaLane(INPUTS, {"same": OUTPUTS["same"]}, ROWS)
        runtime = cuda.cudart

        def enqueue(stream: int) -> None:
            kind = runtime.cudaMemcpyKind.cudaMemcpyDeviceToDevice
            there, here = lane.addresses["same"], lane.addresses["x"]
            cuda._check("copy", runtime.cudaMemcpyAsync(there, here, 3 * ROWS, kind, stream))

        for turn in range(20):
            lane.inputs["x"][:2] = rows(number + turn)
            lane.run(2, enqueue)
            if not (lane.outputs["same"][:2] == rows(number + turn)).all():
                wrong.append((number, turn))
        lane.close()

    threads = [threading.Thread(target=serve, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# ---- on the host


def test_the_first_call_of_a_size_works_and_captures_and_later_ones_launch(
    host: CudaDouble, lane: CudaLane
) -> None:
    calls: list[int] = []
    work = doubling(host, lane, calls)
    for turn in range(4):
        lane.inputs["x"][:2] = rows(turn)
        lane.run(2, work)
        assert (lane.outputs["same"][:2] == rows(turn) * 2).all()
    assert len(calls) == 2
    assert host.launches == 3


def test_each_size_has_a_graph_of_its_own(host: CudaDouble, lane: CudaLane) -> None:
    calls: list[int] = []
    work = doubling(host, lane, calls)
    for count in (1, 2, 4, 2, 1, 4):
        lane.inputs["x"][:count] = rows(count, count)
        lane.run(count, work)
        assert (lane.outputs["same"][:count] == rows(count, count) * 2).all()
    assert len(calls) == 6
    assert host.launches == 3


def test_only_the_rows_of_the_call_are_copied(host: CudaDouble, lane: CudaLane) -> None:
    lane.outputs["same"][:] = 99
    lane.inputs["x"][:] = rows(1, ROWS)
    lane.run(1, doubling(host, lane, []))
    assert (lane.outputs["same"][1:] == 99).all()


def test_a_lane_that_is_dropped_frees_what_it_held(host: CudaDouble) -> None:
    dropped = CudaLane(INPUTS, {}, 4)
    assert host.held()
    del dropped
    gc.collect()
    assert not host.held()


def test_a_child_of_fork_frees_nothing_of_its_parents(
    host: CudaDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped = CudaLane(INPUTS, {}, 4)
    held = host.held()
    monkeypatch.setattr(forking, "_made", WeakSet([dropped]))
    monkeypatch.setattr(forking, "_renewals", [])
    monkeypatch.setattr(forking, "_kept_alive", [])
    forking._after_fork()
    del dropped
    gc.collect()
    assert host.held() == held


def test_everything_is_allocated_once_and_freed_once(host: CudaDouble, lane: CudaLane) -> None:
    before = host.held()
    assert before == {"device": 4, "host": 3, "streams": 1, "events": 1}
    work = doubling(host, lane, [])
    for count in (1, 2, 1, 2):
        lane.run(count, work)
    assert host.held() == {**before, "graphs": 2}
    lane.close()
    assert host.held() == {}
    lane.close()


@pytest.mark.parametrize(
    "name", ["cudaMalloc", "cudaHostAlloc", "cudaStreamCreateWithFlags", "cudaEventCreateWithFlags"]
)
def test_a_lane_that_cannot_be_made_leaves_nothing_behind(host: CudaDouble, name: str) -> None:
    host.failing[name] = host.cudaError_t.cudaErrorMemoryAllocation
    with pytest.raises(EngineError, match="cudaErrorMemoryAllocation"):
        CudaLane(INPUTS, OUTPUTS, ROWS)
    assert host.held() == {}


@pytest.mark.parametrize("name", ["cudaMemcpyAsync", "cudaEventSynchronize", "cudaEventRecord"])
def test_an_error_of_cuda_is_an_error_of_ours(host: CudaDouble, lane: CudaLane, name: str) -> None:
    host.failing[name] = host.cudaError_t.cudaErrorLaunchFailure
    with pytest.raises(EngineError, match="cudaErrorLaunchFailure: as the test wishes"):
        lane.run(1, doubling(host, lane, []))


def test_a_launch_that_fails_is_an_error(host: CudaDouble, lane: CudaLane) -> None:
    work = doubling(host, lane, [])
    lane.run(1, work)
    host.failing["cudaGraphLaunch"] = host.cudaError_t.cudaErrorLaunchFailure
    with pytest.raises(EngineError, match="launch a graph"):
        lane.run(1, work)


@pytest.mark.parametrize("name", ["cudaStreamEndCapture", "cudaGraphInstantiate", "cudaMalloc"])
def test_work_that_cannot_be_captured_runs_without_a_graph_and_says_so(
    host: CudaDouble, lane: CudaLane, name: str
) -> None:
    """The capture or the graph fails, or the work allocates, which a capture forbids."""
    calls: list[int] = []
    plain = doubling(host, lane, calls)
    if name != "cudaMalloc":
        host.failing[name] = host.cudaError_t.cudaErrorStreamCaptureUnsupported

    def work(stream: int) -> None:
        plain(stream)
        if name == "cudaMalloc":
            cuda._release(host.cudaFree, cuda._check("allocate", host.cudaMalloc(8)))

    for turn in range(5):
        lane.inputs["x"][:2] = rows(turn)
        told = r"batches of 2 .*cudaErrorStreamCaptureUnsupported"
        with pytest.warns(RuntimeWarning, match=told) if turn == 2 else nullcontext():
            lane.run(2, work)
        assert (lane.outputs["same"][:2] == rows(turn) * 2).all()
    assert host.launches == 0
    assert len(calls) == 5 + 3
    assert "graphs" not in host.held()


def test_a_capture_that_another_thread_spoils_is_tried_again(
    host: CudaDouble, lane: CudaLane
) -> None:
    host.failing["cudaStreamEndCapture"] = host.cudaError_t.cudaErrorStreamCaptureInvalidated
    work = doubling(host, lane, [])
    lane.run(2, work)
    host.failing.clear()
    lane.run(2, work)
    lane.inputs["x"][:2] = rows(5)
    lane.run(2, work)
    assert (lane.outputs["same"][:2] == rows(5) * 2).all()
    assert host.launches == 1


def test_work_that_is_refused_leaves_no_graph(host: CudaDouble, lane: CudaLane) -> None:
    """An engine that refuses spoils no capture, which then has what was copied before."""

    def work(_: int) -> None:
        if host.capturing(int(lane._stream)):
            raise EngineError("the engine refuses")

    lane.run(2, work)
    lane.run(2, work)
    with pytest.warns(RuntimeWarning, match="the engine refuses"):
        lane.run(2, work)
    assert "graphs" not in host.held()


def test_what_cannot_be_given_back_is_logged_and_hides_nothing(
    host: CudaDouble, lane: CudaLane, caplog: pytest.LogCaptureFixture
) -> None:
    """After a failed launch, CUDA answers whatever it is asked with that failure."""
    for name in ("cudaFree", "cudaFreeHost", "cudaStreamDestroy", "cudaEventDestroy"):
        host.failing[name] = host.cudaError_t.cudaErrorIllegalAddress
    with caplog.at_level(logging.WARNING):  # libraries of other tests change the root's
        lane.close()
    assert caplog.text.count("CUDA could not free what it held: cudaErrorIllegalAddress") == 9


@pytest.mark.parametrize("number", [0, 2])
def test_a_gpu_is_used_whichever_a_thread_has_chosen(host: CudaDouble, number: int) -> None:
    host.cudaSetDevice(1)
    with on_gpu(number):
        lane = CudaLane(INPUTS, OUTPUTS, ROWS)
        lane.run(1, doubling(host, lane, []))
    assert host.device == 1
    with pytest.raises(AssertionError, match="of another GPU"):
        lane.run(2, doubling(host, lane, []))


def test_another_thread_may_allocate_while_a_lane_captures(
    host: CudaDouble, lane: CudaLane
) -> None:
    allocated: list[Any] = []

    def work(stream: int) -> None:
        other = threading.Thread(target=lambda: allocated.append(CudaLane(INPUTS, {}, 1)))
        other.start()
        other.join()

    lane.run(1, work)
    assert len(allocated) == 2


def test_waiting_frees_the_core_unless_spinning_is_wished(host: CudaDouble) -> None:
    CudaLane({}, {}, 1, spinning=False)
    CudaLane({}, {}, 1, spinning=True)
    made = [values[0] for name, values in host.calls if name == "cudaEventCreateWithFlags"]
    assert [bool(flags & host.cudaEventBlockingSync) for flags in made] == [True, False]


def test_the_gpu_is_described(host: CudaDouble) -> None:
    name, major, minor, multiprocessors = GPU
    assert describe_gpu(0) == Gpu(name, f"{major}.{minor}", multiprocessors)


def test_a_machine_without_a_gpu_says_so(host: CudaDouble) -> None:
    host.failing["cudaGetDeviceProperties"] = host.cudaError_t.cudaErrorNoDevice
    with pytest.raises(EngineError, match=r"no usable GPU 0 \(cudaErrorNoDevice"):
        describe_gpu(0)


def test_a_machine_without_a_driver_says_so_with_older_releases_of_cuda_python(
    host: CudaDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(device: int) -> None:
        raise RuntimeError("Failed to dlopen libcuda.so.1")

    monkeypatch.setattr(host, "cudaGetDeviceProperties", fail)
    with pytest.raises(EngineError, match=r"no usable GPU 0 \(Failed to dlopen libcuda"):
        describe_gpu(0)


# ---- without cuda-python


def import_cuda(refused: tuple[str, ...], raised: str = "ModuleNotFoundError") -> str:
    """Import the module in a process whose finder refuses some names; what happens, as text."""
    code = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name in {refused!r}:\n"
        f"            raise {raised}(f'no {{name}}', name=name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "try:\n"
        "    import fer_edge.backends.cuda\n"
        "except Exception as problem:\n"
        "    print(type(problem).__name__, problem)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("name", ["cuda", "cuda.bindings"])
def test_without_cuda_python_the_extra_is_named(name: str) -> None:
    told = import_cuda((name, "cuda.cudart"))
    assert told.startswith(MissingDependencyError.__name__)
    assert "fer-edge[tensorrt]" in told


def test_an_import_that_fails_inside_cuda_python_is_not_hidden() -> None:
    assert import_cuda(("cuda.bindings.runtime",), "ImportError").startswith("ImportError")
