"""CUDA through cuda-python: memory, a stream, and a graph for each number of rows.

Nothing here knows TensorRT: a ``CudaLane`` runs any work that can be enqueued on a stream.
"""

from __future__ import annotations

import ctypes
import importlib
import logging
import warnings
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_edge.artifacts.plan import Gpu
from fer_edge.errors import EngineError, MissingDependencyError
from fer_edge.system.forking import ProcessBound

Enqueue = Callable[[int], None]
"""Enqueues work on the stream with this handle and returns before the work is done."""

Row = np.dtype[Any]
"""One row of a tensor with its shape, such as ``np.dtype((np.float32, (7,)))``."""


def _import_runtime() -> Any:
    for name in ("cuda.bindings.runtime", "cuda.cudart"):  # the second before cuda-python 12.8
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as problem:
            if not f"{name}.".startswith(f"{problem.name}."):
                raise
    raise MissingDependencyError("cuda-python", "tensorrt")


cudart = _import_runtime()
_SUCCESS = cudart.cudaError_t.cudaSuccess
_ATTEMPTS = 3
_logger = logging.getLogger(__name__)


@contextmanager
def on_gpu(number: int) -> Iterator[None]:
    """Use one GPU in this thread until the block ends, then the thread's own GPU again.

    CUDA keeps the device for each thread, and what is made on one device works on no other.
    Raises EngineError if there is no such GPU.
    """
    chosen = _check("tell which GPU this thread uses", cudart.cudaGetDevice())
    if chosen != number:
        _check(f"use GPU {number}", cudart.cudaSetDevice(number))
    try:
        yield
    finally:
        if chosen != number:
            _check(f"go back to GPU {chosen}", cudart.cudaSetDevice(chosen))


def describe_gpu(number: int) -> Gpu:
    """Describe the GPU with this number. Raises EngineError if it cannot be used."""
    try:
        error, found = cudart.cudaGetDeviceProperties(number)
        reason = None if error == _SUCCESS else _describe(error)
    except RuntimeError as problem:  # how cuda-python 12.8 says that there is no driver
        reason = str(problem)
    if reason is not None:
        raise EngineError(
            f"CUDA finds no usable GPU {number} ({reason}); GPUs are counted from 0. If there is "
            "one, install NVIDIA's driver; if not, run this on the device itself"
        )
    return Gpu(
        name=found.name.rstrip(b"\0").decode(),
        compute_capability=f"{found.major}.{found.minor}",
        multiprocessors=found.multiProcessorCount,
    )


class CudaLane(ProcessBound):
    """A stream with pinned host memory, device memory, and one graph for each number of rows.

    ``inputs`` and ``outputs`` are numpy arrays ``(max_rows, …)`` in pinned memory. ``addresses``
    tells where each of them is on the device, and ``scratch_address`` where the work may keep its
    own data. All memory is allocated here, once. One thread at a time may use a lane.
    ``spinning`` waits with a busy core, which is faster by microseconds.
    """

    def __init__(
        self,
        inputs: Mapping[str, Row],
        outputs: Mapping[str, Row],
        max_rows: int,
        *,
        scratch_bytes: int = 0,
        spinning: bool = False,
    ) -> None:
        self._graphs: dict[int, Any] = {}
        self._attempts: Counter[int] = Counter()
        with ExitStack() as held:
            self._stream = _check(
                "create a stream", cudart.cudaStreamCreateWithFlags(cudart.cudaStreamNonBlocking)
            )
            held.callback(_release, cudart.cudaStreamDestroy, self._stream)
            self._handle = _handle(self._stream)
            flags = cudart.cudaEventDisableTiming
            if not spinning:
                flags |= cudart.cudaEventBlockingSync
            self._done = _check("create an event", cudart.cudaEventCreateWithFlags(flags))
            held.callback(_release, cudart.cudaEventDestroy, self._done)
            self.inputs = {n: _pinned(held, x, max_rows) for n, x in inputs.items()}
            self.outputs = {n: _pinned(held, x, max_rows) for n, x in outputs.items()}
            arrays = {**self.inputs, **self.outputs}
            self.addresses = {n: _on_device(held, array.nbytes) for n, array in arrays.items()}
            self.scratch_address = _on_device(held, scratch_bytes)
            self._held = held.pop_all()
        # for a lane that is dropped without close; at exit a forked child must free nothing
        self._dropped = weakref.finalize(self, self._held.close)
        self._dropped.atexit = False

    def run(self, rows: int, enqueue: Enqueue) -> None:
        """Copy ``rows`` rows of the inputs to the device, do the work, copy the outputs back.

        The first call for a number of rows calls ``enqueue`` twice: to do the work, so that it can
        set itself up, and to capture it as a graph. Later calls launch the graph, so ``enqueue``
        must always do the same work. Raises EngineError.

        A capture fails if another thread waits for the whole device at the same time, so three
        calls try it. After that the work runs without a graph, and a warning says so.
        """
        graph = self._graphs.get(rows)
        if graph is not None:
            _check("launch a graph", cudart.cudaGraphLaunch(graph, self._stream))
            self._wait()
            return
        self._copy_and_enqueue(rows, enqueue)
        self._wait()
        if self._attempts[rows] == _ATTEMPTS:
            return
        self._attempts[rows] += 1
        try:
            self._graphs[rows] = self._captured(rows, enqueue)
        except EngineError as problem:
            if self._attempts[rows] == _ATTEMPTS:
                warnings.warn(
                    f"batches of {rows} run without a CUDA graph, which is slower, because "
                    f"capturing one failed {_ATTEMPTS} times: {problem}",
                    RuntimeWarning,
                    stacklevel=2,
                )

    def close(self) -> None:
        """Free everything; the arrays must not be used afterwards. May be repeated."""
        self._graphs.clear()
        self._dropped.detach()
        self._held.close()

    def _copy_and_enqueue(self, rows: int, enqueue: Enqueue) -> None:
        kinds, copy, stream = cudart.cudaMemcpyKind, cudart.cudaMemcpyAsync, self._stream
        for name, array in self.inputs.items():
            here, there, size = array.ctypes.data, self.addresses[name], array[:rows].nbytes
            _check("copy", copy(there, here, size, kinds.cudaMemcpyHostToDevice, stream))
        enqueue(self._handle)
        for name, array in self.outputs.items():
            here, there, size = array.ctypes.data, self.addresses[name], array[:rows].nbytes
            _check("copy", copy(here, there, size, kinds.cudaMemcpyDeviceToHost, stream))

    def _captured(self, rows: int, enqueue: Enqueue) -> Any:
        """Capture the work as a graph. Raises EngineError if that fails."""
        # the global mode would forbid other threads to allocate during the capture
        mode = cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        _check("start a capture", cudart.cudaStreamBeginCapture(self._stream, mode))
        with ExitStack() as captured:
            try:
                self._copy_and_enqueue(rows, enqueue)
            finally:
                error, graph = cudart.cudaStreamEndCapture(self._stream)
                if error == _SUCCESS:  # even if ``enqueue`` failed: then a graph of the rest
                    captured.callback(_release, cudart.cudaGraphDestroy, graph)
            _check("end a capture", (error,))
            launchable = _check("build a graph", cudart.cudaGraphInstantiate(graph, 0))
            self._held.callback(_release, cudart.cudaGraphExecDestroy, launchable)
            return launchable

    def _wait(self) -> None:
        _check("record an event", cudart.cudaEventRecord(self._done, self._stream))
        _check("finish", cudart.cudaEventSynchronize(self._done))


def _handle(stream: Any) -> int:
    """The address of a stream, which TensorRT takes."""
    try:
        from cuda.bindings.utils import get_cuda_native_handle
    except ImportError:  # before 12.9.1
        return int(stream)
    return int(get_cuda_native_handle(stream))


def _pinned(held: ExitStack, row: Row, rows: int) -> npt.NDArray[Any]:
    size = rows * row.itemsize
    address = _check(
        f"allocate {size} bytes of pinned memory",
        cudart.cudaHostAlloc(size, cudart.cudaHostAllocDefault),
    )
    held.callback(_release, cudart.cudaFreeHost, address)
    memory = memoryview((ctypes.c_uint8 * size).from_address(address))
    return np.frombuffer(memory, row)


def _on_device(held: ExitStack, size: int) -> int:
    # an allocation of no bytes gives no address
    address = int(_check(f"allocate {size} bytes of GPU memory", cudart.cudaMalloc(max(size, 1))))
    held.callback(_release, cudart.cudaFree, address)
    return address


def _check(doing: str, answer: tuple[Any, ...]) -> Any:
    error, *values = answer
    if error != _SUCCESS:
        raise EngineError(f"CUDA could not {doing}: {_describe(error)}")
    return values[0] if values else None


def _release(call: Callable[[Any], tuple[Any, ...]], what: Any) -> None:
    error, *_ = call(what)
    if error != _SUCCESS:  # after a failed launch CUDA answers every call with that error
        _logger.warning("CUDA could not free what it held: %s", _describe(error))


def _describe(error: Any) -> str:
    _, name = cudart.cudaGetErrorName(error)
    _, text = cudart.cudaGetErrorString(error)
    return f"{name.decode()}: {text.decode()}"
