"""TensorRT, from 10.3 (JetPack 6.1) on."""

from __future__ import annotations

import logging
import re
import threading
from functools import partial

import numpy as np

from fer_edge.backends.table import BACKENDS
from fer_edge.errors import (
    ArtifactError,
    ConfigurationError,
    EngineError,
    MissingDependencyError,
)

try:
    import tensorrt as trt
except ImportError as problem:
    missing = re.match(r"(\S+\.so\S*): cannot open shared object file", str(problem))
    if missing:
        raise MissingDependencyError(
            missing[1].rstrip(":"),
            "tensorrt",
            "TensorRT's Python package needs this library",
            "Install TensorRT as a whole, or add the folder of its libraries to LD_LIBRARY_PATH",
        ) from problem
    if not isinstance(problem, ModuleNotFoundError) or problem.name != "tensorrt":
        raise
    raise BACKENDS["tensorrt"].absence("tensorrt") from problem
else:
    if tuple(map(int, trt.__version__.split(".")[:2])) < (10, 3):
        raise BACKENDS["tensorrt"].absence("TensorRT 10.3 or later", f"this is {trt.__version__}")

from fer_edge.artifacts.artifact import Artifact
from fer_edge.artifacts.plan import read_sidecar, require_trust
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.backends.base import Answers, Backend, BackendOptions, Crops, EngineInfo
from fer_edge.backends.contract import INPUT, OUTPUTS, Port, contract_spec
from fer_edge.backends.cuda import CudaLane, describe_gpu, on_gpu
from fer_edge.backends.pool import Pool

_LANES = {"latency": 2, "throughput": 4}
"""Contexts by goal: with two, one call's copies overlap another's layers."""
_TYPES = {trt.DataType.UINT8: "uint8", trt.DataType.FLOAT: "float32"}
_MAX_REASON = 600

_logger = logging.getLogger(__name__)


class EngineLog(trt.ILogger):  # type: ignore[misc]
    """TensorRT's log: warnings go to Python's log, ``errors`` are kept for our own messages."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.errors: list[str] = []

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        """Take one message; called by TensorRT, from any of its threads."""
        if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
            self.errors.append(" ".join(msg.split()))
        elif severity == trt.ILogger.Severity.WARNING:
            self.warn(" ".join(msg.split()))

    def warn(self, message: str) -> None:
        """Pass a warning on; here to Python's log."""
        _logger.warning("TensorRT: %s", message)

    def clear(self) -> None:
        """Forget the errors so far: TensorRT survives some of them, such as a skipped tactic."""
        self.errors.clear()

    def reason(self) -> str:
        """Take the errors so far as one line, the last ones if there are many."""
        errors, self.errors = self.errors, []
        told = "; ".join(dict.fromkeys(errors)) or "TensorRT gave no reason"
        return told if len(told) <= _MAX_REASON else f"…{told[-_MAX_REASON:]}"


class TensorRtBackend(Backend):
    """A plan, and a pool of lanes: each has a stream, its memory, and a graph per batch size."""

    def __init__(self, artifact: Artifact, options: BackendOptions) -> None:
        options.refuse("TensorRT", "threads", "compiled")
        _, self._gpu = options.kind_and_number("TensorRT", "cuda")
        sidecar = read_sidecar(artifact)
        require_trust(artifact, trust=options.trust)
        gpu = describe_gpu(self._gpu)
        if sidecar is not None and (misfits := sidecar.misfits(trt.__version__, gpu)):
            raise ArtifactError(
                f"{artifact.path} does not run here: {'; '.join(misfits)}. Build it on this device "
                "with fer-export --from-onnx, from the ONNX that it was made from"
            )
        precision = sidecar.inference_precision if sidecar else "unknown"
        if options.inference_precision not in (None, precision):
            raise ConfigurationError(
                f"this plan computes in {precision}, fixed when it was built, and "
                f"{options.inference_precision} was asked for; build another with fer-export "
                "--target trt-fp16"
            )
        self._log, lanes = EngineLog(), _LANES[options.goal]
        with on_gpu(self._gpu):
            engine = load_engine(
                artifact.data,
                self._log,
                where=str(artifact.path),
                host_code=sidecar is not None and sidecar.version_compatible,
                dla_core=sidecar.dla_core if sidecar else None,
            )
            carried = sidecar.spec.to_json() if sidecar else None
            self.spec = contract_spec(carried, artifact, *_ports(engine))
            batches = _batches(engine)
            make = partial(
                _Lane,
                engine,
                self._log,
                self.spec,
                batches=batches,
                spinning=options.spinning,
                preparing=threading.Lock(),
            )
            self._pool = Pool(make, lanes, "this TensorRT engine is closed")
            with self._pool.borrow():  # memory that is lacking shows here, not at the first crop
                pass
        self.engine = EngineInfo(
            name="tensorrt",
            version=trt.__version__,
            provider=str(gpu),
            inference_precision=precision,
            threads=None,
            concurrency=lanes,
            max_batch=batches[1],
        )

    def infer(self, batch: Crops) -> Answers:
        """Run one batch in a lane of its own."""
        self.require_own_process()
        with on_gpu(self._gpu), self._pool.borrow() as lane:
            return lane.infer(batch)

    def close(self) -> None:
        """Free idle lanes now, and busy ones when their call ends."""
        if not self.inherited:
            with on_gpu(self._gpu):
                self._pool.close()


class _Lane:
    """One call at a time: a CUDA lane, and an execution context for each of a few batch sizes.

    A CUDA graph is tied to the context that it was captured from, and the context must not change
    afterwards (TensorRT's developer guide on CUDA graphs). So each size has its own context. One
    runs at a time, so they share one piece of scratch memory. A batch runs in the next larger of
    ``_sizes``, so memory is bounded whatever sizes come.
    """

    def __init__(
        self,
        engine: trt.ICudaEngine,
        log: EngineLog,
        spec: ModelSpec,
        *,
        batches: tuple[int, int],
        spinning: bool,
        preparing: threading.Lock,
    ) -> None:
        self._engine, self._log, self._preparing = engine, log, preparing
        self._sizes = _sizes(*batches)
        self._shape = spec.input.shape
        self._scratch_bytes = engine.device_memory_size_v2
        self._contexts: dict[int, trt.IExecutionContext] = {}
        self._cuda = CudaLane(
            {INPUT: np.dtype((np.uint8, self._shape))},
            {name: np.dtype((np.float32, (len(spec.labels),))) for name in OUTPUTS},
            batches[1],
            scratch_bytes=self._scratch_bytes,
            spinning=spinning,
        )

    def infer(self, batch: Crops) -> Answers:
        count = len(batch)
        # the rows beyond ``count`` are computed and read by nobody
        rows = next(size for size in self._sizes if size >= count)
        self._cuda.inputs[INPUT][:count] = batch
        self._cuda.run(rows, partial(self._enqueue, rows))
        logits, probabilities = (self._cuda.outputs[name][:count].copy() for name in OUTPUTS)
        return logits, probabilities

    def close(self) -> None:
        self._contexts.clear()
        self._cuda.close()

    def _enqueue(self, rows: int, stream: int) -> None:
        if rows not in self._contexts:
            with self._preparing:
                self._contexts[rows] = self._context(rows)
        if not self._contexts[rows].execute_async_v3(stream):
            raise EngineError(
                f"TensorRT could not run a batch of {rows} crops: {self._log.reason()}"
            )

    def _context(self, rows: int) -> trt.IExecutionContext:
        strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        context = self._engine.create_execution_context(strategy)
        if context is None:
            raise EngineError(f"TensorRT could not make an execution context: {self._log.reason()}")
        context.set_device_memory(self._cuda.scratch_address, self._scratch_bytes)
        fits = context.set_input_shape(INPUT, (rows, *self._shape))
        for name, address in self._cuda.addresses.items():
            fits = context.set_tensor_address(name, address) and fits
        if not fits:
            raise EngineError(
                f"TensorRT does not take a batch of {rows} crops: {self._log.reason()}"
            )
        return context


def load_engine(
    plan: bytes,
    log: EngineLog,
    *,
    where: str,
    host_code: bool = False,
    dla_core: int | None = None,
) -> trt.ICudaEngine:
    """Deserialise a plan, which runs native code: check first whom it comes from.

    ``host_code`` allows the runtime that a version-compatible plan carries; ``dla_core`` is the
    core that a plan for a deep learning accelerator was built for. Raises EngineError where
    TensorRT does not start, and ArtifactError, with TensorRT's own words, for a plan that it
    refuses.
    """
    log.clear()
    try:
        runtime = trt.Runtime(log)
    except TypeError as problem:  # what pybind11 makes of a null pointer
        raise EngineError(
            f"TensorRT {trt.__version__} does not start; it needs a usable GPU and its driver: "
            f"{log.reason()}"
        ) from problem
    if host_code:
        runtime.engine_host_code_allowed = True
    if dla_core is not None:
        runtime.DLA_core = dla_core
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise ArtifactError(
            f"TensorRT {trt.__version__} refuses {where}: {log.reason()}. Build it on this device "
            "with fer-export --from-onnx"
        )
    return engine


def _ports(engine: trt.ICudaEngine) -> tuple[list[Port], list[Port]]:
    inputs: list[Port] = []
    outputs: list[Port] = []
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        taken = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        kind = engine.get_tensor_dtype(name)
        dtype = _TYPES.get(kind, kind.name)
        shape = tuple(None if size < 0 else size for size in engine.get_tensor_shape(name))
        (inputs if taken else outputs).append(Port(name, dtype, shape))
    return inputs, outputs


def _sizes(smallest: int, largest: int) -> tuple[int, ...]:
    """Powers of two between the smallest and the largest batch, and these two."""
    powers = (1 << power for power in range(largest.bit_length()))
    between = {size for size in powers if smallest < size < largest}
    return tuple(sorted({smallest, largest} | between))


def _batches(engine: trt.ICudaEngine) -> tuple[int, int]:
    """Smallest and largest batch, of the profile or of a static shape."""
    size = engine.get_tensor_shape(INPUT)[0]
    if size >= 0:
        return size, size
    smallest, _, largest = engine.get_tensor_profile_shape(INPUT, 0)
    return smallest[0], largest[0]
