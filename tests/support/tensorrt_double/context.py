"""An execution context of the double: it keeps the guide's rules, and ONNX Runtime computes."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import numpy as np

from tensorrt_double.cuda import CudaDouble
from tensorrt_double.signatures import stand_in

SCRATCH = 4096
"""Bytes that a context needs for its layers."""


class Context:
    """An execution context's state, and the double in front of it."""

    def __init__(  # noqa: PLR0917
        self,
        trt: ModuleType,
        cuda: CudaDouble,
        session: Any,
        profile: list[Any],
        shapes: dict[str, tuple[int, ...]],
        logger: Any,
        strategy: Any = None,
    ) -> None:
        self._cuda, self._session, self._shapes, self._logger = cuda, session, shapes, logger
        self._error = trt.ILogger.ERROR
        self._range = profile[0][0], profile[2][0]
        self._needs_memory = strategy is trt.ExecutionContextAllocationStrategy.USER_MANAGED
        self._memory: tuple[int, int] | None = None
        self._addresses: dict[str, int] = {}
        self._rows: int | None = None
        self._version = 0
        self._enqueued = -1
        self.double = stand_in(
            trt,
            trt.IExecutionContext,
            set_device_memory=self._set_device_memory,
            set_input_shape=self._set_input_shape,
            set_tensor_address=self._set_tensor_address,
            execute_async_v3=self._execute,
        )

    def _set_device_memory(self, memory: int, size: int) -> None:
        self._cuda.view(memory, size)
        self._memory = memory, size
        self._version += 1

    def _set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        rows, *rest = shape
        fits = self._range[0] <= rows <= self._range[1]
        if name != "crop" or tuple(rest) != self._shapes["crop"][1:] or not fits:
            return False
        self._rows = rows
        self._version += 1
        return True

    def _set_tensor_address(self, name: str, memory: int) -> bool:
        if name not in self._shapes:
            return False
        self._addresses[name] = memory
        self._version += 1
        return True

    def _execute(self, stream_handle: int) -> bool:
        ready = self._rows is not None and self._addresses.keys() == self._shapes.keys()
        if self._needs_memory and (self._memory is None or self._memory[1] < SCRATCH):
            ready = False
        cuda = self._cuda
        # the guide: enqueue once after a change of shape before capturing
        if not ready or (cuda.capturing(stream_handle) and self._enqueued != self._version):
            self._logger.log(self._error, "the context is not ready")
            return False
        self._enqueued = version = self._version

        def work() -> None:
            # the guide: changing a context makes the graphs captured from it undefined
            assert self._version == version, "this context changed after it was captured"
            self._compute()

        cuda.enqueue(stream_handle, work)
        return True

    def _compute(self) -> None:
        shape = (self._rows, *self._shapes["crop"][1:])
        cuda = self._cuda
        data = cuda.view(self._addresses["crop"], math.prod(shape))
        if self._memory is not None:
            cuda.view(self._memory[0], self._memory[1])[:] = b"\xee" * self._memory[1]
        crops = np.frombuffer(data, np.uint8).reshape(shape)
        names = [name for name in self._shapes if name != "crop"]
        for name, values in zip(names, self._session.run(names, {"crop": crops}), strict=True):
            cuda.view(self._addresses[name], values.nbytes)[:] = values.tobytes()
