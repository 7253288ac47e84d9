"""CUDA's runtime played on the host: memory, streams that run late, events, graphs.

It stands on cuda-python's real module: names, signatures and enums are its own. Work on a stream
runs when something waits for it, so that an answer read too early is the old one; an address that
is not allocated, a leak, or a call that a capture forbids is an error.
"""

from __future__ import annotations

import ctypes
import inspect
import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from cuda.bindings import runtime

Work = Callable[[], None]
GPU = ("Double of a GPU", 8, 7, 16)
_DEVICE, _HOST = "device", "host"
_OF_A_THREAD = ("cudaGetDevice", "cudaSetDevice")


class _Stream:
    def __init__(self) -> None:
        self.queue: list[Work] = []
        self.captured: list[Work] | None = None
        self.thread = 0
        self.mode: Any = None
        self.invalid = False
        self.device = 0


class CudaDouble:
    """In place of ``cuda.bindings.runtime``."""

    def __init__(self) -> None:
        self.gpu = GPU
        self.failing: dict[str, Any] = {}
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.launches = 0
        self._lock = threading.RLock()
        self._threads = threading.local()
        self._numbers = iter(range(1, 1 << 30))
        self._memory: dict[int, tuple[str, ctypes.Array[ctypes.c_uint8]]] = {}
        self._streams: dict[int, _Stream] = {}
        self._events: dict[int, _Stream | None] = {}
        self._graphs: dict[int, list[Work]] = {}
        self._launchable: dict[int, list[Work]] = {}

    def __getattr__(self, name: str) -> Any:
        real = getattr(runtime, name)
        if isinstance(real, (type, int)):
            return real
        mine = getattr(type(self), f"_{name}", None)
        if mine is None:
            raise AssertionError(f"the double of CUDA does not know {name}")
        return self._checked(name, real, mine.__get__(self))

    def held(self) -> dict[str, int]:
        """What is not freed yet, counted."""
        kinds = [kind for kind, _ in self._memory.values()]
        held = {
            "device": kinds.count(_DEVICE),
            "host": kinds.count(_HOST),
            "streams": len(self._streams),
            "events": len(self._events),
            "graphs": len(self._graphs) + len(self._launchable),
        }
        return {name: count for name, count in held.items() if count}

    def enqueue(self, stream: int, work: Work) -> None:
        """What a kernel launch does: queue work on a stream, or add it to the graph."""
        with self._lock:
            found = self._streams[int(stream)]
            assert found.device == self.device, "the stream is of another GPU"
            (found.queue if found.captured is None else found.captured).append(work)

    @property
    def device(self) -> int:
        """The GPU that this thread uses."""
        return getattr(self._threads, "device", 0)

    def capturing(self, stream: int) -> bool:
        with self._lock:
            return self._streams[int(stream)].captured is not None

    def view(self, address: int, size: int, kind: str = _DEVICE) -> memoryview:
        """Memory of the device, writable; it must lie within one allocation."""
        for start, (held, block) in self._memory.items():
            if held == kind and start <= address and address + size <= start + len(block):
                return memoryview(block).cast("B")[address - start : address - start + size]
        raise AssertionError(f"{size} bytes at {address:#x} are not allocated on the {kind}")

    def _checked(self, name: str, real: Any, mine: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(real)

        def call(*arguments: Any, **named: Any) -> tuple[Any, ...]:
            bound = signature.bind(*arguments, **named)
            for parameter, value in bound.arguments.items():
                kind = signature.parameters[parameter].annotation
                if isinstance(kind, str) and not isinstance(value, getattr(runtime, kind)):
                    raise TypeError(f"{name}: {parameter} should be a {kind}, not {value!r}")
            # the device is each thread's own, and asking for it waits for nobody
            with nullcontext() if name in _OF_A_THREAD else self._lock:
                self.calls.append((name, bound.args))
                if name in self.failing:
                    if name == "cudaStreamEndCapture":  # which ends it all the same
                        self._streams[int(bound.args[0])].captured = None
                    return self.failing[name], None
                value = mine(*bound.args, **bound.kwargs)
            success = runtime.cudaError_t.cudaSuccess
            if isinstance(value, runtime.cudaError_t):
                return value, None
            return (success,) if value is None else (success, value)

        return call

    # ---- the device

    def _cudaGetDeviceProperties(self, device: int) -> Any:  # noqa: N802
        found = runtime.cudaDeviceProp()
        name, found.major, found.minor, found.multiProcessorCount = self.gpu
        found.name = name.encode().ljust(256, b"\0")
        return found

    def _cudaGetDevice(self) -> int:  # noqa: N802
        return self.device

    def _cudaSetDevice(self, device: int) -> None:  # noqa: N802
        self._threads.device = device

    def _cudaGetErrorName(self, error: Any) -> bytes:  # noqa: N802
        return str(error.name).encode()

    def _cudaGetErrorString(self, error: Any) -> bytes:  # noqa: N802
        return b"as the test wishes"

    # ---- memory

    def _allocate(self, kind: str, size: int) -> Any:
        if captures := self._captures_here():
            for stream in captures:
                stream.invalid = True
            return runtime.cudaError_t.cudaErrorStreamCaptureUnsupported
        block = (ctypes.c_uint8 * size)(*([0xA5] * size))
        address = ctypes.addressof(block)
        self._memory[address] = kind, block
        return address

    def _free(self, kind: str, address: int) -> Any:
        if captures := self._captures_here():  # it may wait for the device
            for stream in captures:
                stream.invalid = True
            return runtime.cudaError_t.cudaErrorStreamCaptureUnsupported
        assert self._memory[address][0] == kind
        del self._memory[address]
        return None

    def _cudaMalloc(self, size: int) -> int:  # noqa: N802
        assert size > 0
        return self._allocate(_DEVICE, size)

    def _cudaFree(self, devPtr: int) -> Any:  # noqa: N802, N803
        return self._free(_DEVICE, devPtr)

    def _cudaHostAlloc(self, size: int, flags: int) -> int:  # noqa: N802
        return self._allocate(_HOST, size)

    def _cudaFreeHost(self, ptr: int) -> Any:  # noqa: N802
        return self._free(_HOST, ptr)

    def _cudaMemcpyAsync(self, dst: int, src: int, count: int, kind: Any, stream: Any) -> None:  # noqa: N802
        kinds = runtime.cudaMemcpyKind
        ends = {
            kinds.cudaMemcpyHostToDevice: (_DEVICE, _HOST),
            kinds.cudaMemcpyDeviceToHost: (_HOST, _DEVICE),
            kinds.cudaMemcpyDeviceToDevice: (_DEVICE, _DEVICE),
        }[kind]

        def copy() -> None:
            self.view(dst, count, ends[0])[:] = self.view(src, count, ends[1])

        self.view(dst, count, ends[0])
        self.view(src, count, ends[1])
        self.enqueue(stream, copy)

    # ---- streams and events

    def _cudaStreamCreateWithFlags(self, flags: int) -> Any:  # noqa: N802
        self._streams[number := next(self._numbers)] = made = _Stream()
        made.device = self.device
        return runtime.cudaStream_t(number)

    def _cudaStreamDestroy(self, stream: Any) -> None:  # noqa: N802
        del self._streams[int(stream)]

    def _cudaEventCreateWithFlags(self, flags: int) -> Any:  # noqa: N802
        self._events[number := next(self._numbers)] = None
        return runtime.cudaEvent_t(number)

    def _cudaEventDestroy(self, event: Any) -> None:  # noqa: N802
        del self._events[int(event)]

    def _cudaEventRecord(self, event: Any, stream: Any) -> None:  # noqa: N802
        self._events[int(event)] = self._streams[int(stream)]

    def _cudaEventSynchronize(self, event: Any) -> None:  # noqa: N802
        stream = self._events[int(event)]
        assert stream is not None, "an event that was never recorded"
        assert stream.captured is None, "a wait during a capture"
        queue, stream.queue = stream.queue, []
        for work in queue:
            work()

    # ---- graphs

    def _cudaStreamBeginCapture(self, stream: Any, mode: Any) -> None:  # noqa: N802
        found = self._streams[int(stream)]
        assert found.captured is None
        found.captured, found.thread, found.mode = [], threading.get_ident(), mode
        found.invalid = False

    def _cudaStreamEndCapture(self, stream: Any) -> Any:  # noqa: N802
        found = self._streams[int(stream)]
        assert found.captured is not None
        work, found.captured = found.captured, None
        if found.invalid:
            return runtime.cudaError_t.cudaErrorStreamCaptureInvalidated
        self._graphs[number := next(self._numbers)] = work
        return runtime.cudaGraph_t(number)

    def _cudaGraphInstantiate(self, graph: Any, flags: int) -> Any:  # noqa: N802
        self._launchable[number := next(self._numbers)] = list(self._graphs[int(graph)])
        return runtime.cudaGraphExec_t(number)

    def _cudaGraphDestroy(self, graph: Any) -> None:  # noqa: N802
        del self._graphs[int(graph)]

    def _cudaGraphExecDestroy(self, graphExec: Any) -> None:  # noqa: N802, N803
        del self._launchable[int(graphExec)]

    def _cudaGraphLaunch(self, graphExec: Any, stream: Any) -> None:  # noqa: N802, N803
        self.launches += 1
        self._streams[int(stream)].queue += self._launchable[int(graphExec)]

    def _captures_here(self) -> list[_Stream]:
        """Streams whose capture forbids this thread to allocate: its own, or a global one."""
        modes = runtime.cudaStreamCaptureMode
        return [
            stream
            for stream in self._streams.values()
            if stream.captured is not None
            and (
                stream.thread == threading.get_ident()
                or stream.mode == modes.cudaStreamCaptureModeGlobal
            )
        ]
