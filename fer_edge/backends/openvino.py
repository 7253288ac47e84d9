"""OpenVINO."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_edge.artifacts.artifact import Artifact
from fer_edge.backends.base import Answers, Backend, BackendOptions, Crops, EngineInfo
from fer_edge.backends.contract import OUTPUTS, padded
from fer_edge.backends.openvino_model import (
    REFUSALS,
    ArtifactModel,
    computes_in,
    read_property,
    reason,
)
from fer_edge.backends.openvino_runtime import ov, process_core
from fer_edge.backends.pool import Pool
from fer_edge.errors import ClosedError, ConfigurationError, EngineError

_FAMILIES = ("CPU", "GPU", "NPU")
_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
_ONE_BY_ONE = ("NPU",)
"""Devices that accept batches of a fixed size only."""

_CLOSED = "this OpenVINO model is closed"


class OpenVinoBackend(Backend):
    """Compiled models, each with a pool of infer requests.

    Devices are ``cpu``, ``gpu`` and ``npu``; ``gpu.1`` is the second GPU and ``auto`` is the CPU.
    Single crops run on a model that was compiled for one crop, which is faster. The model for any
    number of crops is compiled when it is first needed.

    By default, OpenVINO computes in bf16 or fp16 where the device can. This backend computes fp32
    artifacts, and the parts of INT8 ones that are not quantised, in fp32, and fp16 artifacts as
    their graph says where the device has fp16. ``inference_precision`` asks for another one, and
    raises an error if the device lacks it. What the device really computes in is read from the
    graph that it executes.
    """

    def __init__(self, artifact: Artifact, options: BackendOptions) -> None:
        options.refuse("OpenVINO", "spinning", "compiled")
        core = process_core()
        device = _device(core, options.device)
        model = ArtifactModel(core, artifact)
        settings = _settings(core, device, options, model.spec.precision)
        self.spec = model.spec
        self._model: ArtifactModel | None = model
        self._device, self._settings = device, settings
        self._fixed = model.batch
        self._one_by_one = self._fixed is None and device.startswith(_ONE_BY_ONE)
        first = model.compile(device, settings, self._fixed or 1)
        precision = _checked_precision(first, options, device)
        requests = int(first.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self.engine = EngineInfo(
            name="openvino",
            version=ov.__version__.partition("-")[0],
            provider=", ".join(first.get_property("EXECUTION_DEVICES")),
            inference_precision=precision,
            threads=read_property(first, "INFERENCE_NUM_THREADS") or None,
            concurrency=requests,
            max_batch=self._fixed,
        )
        self._handed_over = options.goal == "throughput" and requests > 1
        self._first = self._pool(first, self._fixed or 1)
        self._any: Pool[_Request] | None = None
        self._opening = threading.Lock()

    def infer(self, batch: Crops) -> Answers:
        """Run one batch."""
        count = len(batch)
        if count != 1 and self._one_by_one:
            rows = [self.infer(crop[None]) for crop in batch]
            return np.concatenate([a for a, _ in rows]), np.concatenate([b for _, b in rows])
        is_first = self._fixed is not None or count == 1
        pool = self._first if is_first else self._any or self._compile_for_any()
        given = padded(batch, self._fixed)
        try:
            with pool.borrow() as request:
                logits, probabilities = request.infer(given)
        except REFUSALS as problem:
            raise EngineError(
                f"OpenVINO failed on crops of shape {batch.shape}: {reason(problem)}"
            ) from problem
        return logits[:count], probabilities[:count]

    def close(self) -> None:
        """Drop the compiled models. Calls that are under way finish first."""
        with self._opening:
            self._model = None
        for pool in (self._first, self._any):
            if pool is not None:
                pool.close()

    def _compile_for_any(self) -> Pool[_Request]:
        with self._opening:
            if self._any is None:
                if self._model is None:
                    raise ClosedError(_CLOSED)
                compiled = self._model.compile(self._device, self._settings, None)
                self._any = self._pool(compiled, None)
                self._model = None  # it has weights of its own, and nothing else is compiled
            return self._any

    def _pool(self, compiled: Any, batch: int | None) -> Pool[_Request]:
        # one more than can run at once: it is filled while the others run
        size = self.engine.concurrency + 1
        return Pool(lambda: _Request(compiled, batch, self._handed_over), size, _CLOSED)


class _Request:
    """An infer request with its own tensors; ``batch`` None takes any number of crops.

    With ``handed_over``, OpenVINO's own threads do all the work, so that many requests run side by
    side. Otherwise the calling thread takes part, and does all of it if there is one thread.
    Handing over would then cost two thread switches, which take milliseconds on a busy machine.
    """

    def __init__(self, compiled: Any, batch: int | None, handed_over: bool) -> None:
        self._handed_over = handed_over
        self._request = compiled.create_infer_request()
        self._fixed = batch is not None
        self._input = self._request.get_input_tensor()
        self._pixels: Any = self._input.data if self._fixed else None
        self._outputs = self._views() if self._fixed else []

    def infer(self, batch: Crops) -> Answers:
        if self._fixed:
            self._pixels[:] = batch
        else:
            self._input.shape = batch.shape
            self._input.data[:] = batch
        if self._handed_over:
            self._request.start_async()
            self._request.wait()
        else:
            self._request.infer(share_outputs=True)
        logits, probabilities = self._outputs if self._fixed else self._views()
        return logits.copy(), probabilities.copy()

    def _views(self) -> list[npt.NDArray[np.float32]]:
        return [self._request.get_tensor(name).data for name in OUTPUTS]

    def close(self) -> None:
        # views of the request's memory go first
        self._outputs = []
        self._pixels = self._input = self._request = None


def _device(core: Any, wanted: str) -> str:
    """OpenVINO's name of a device that is there."""
    if wanted in ("auto", "cpu", "CPU"):
        return "CPU"  # listing the devices would load the drivers of all of them
    device = wanted.upper()
    if device.partition(".")[0] not in _FAMILIES:
        raise ConfigurationError(
            f"OpenVINO has no device {wanted!r}; there are auto, cpu, gpu, npu, and gpu.1 for the "
            "second GPU"
        )
    present = core.available_devices
    # GPU is the first GPU; if it is the only one, it is listed as GPU and not as GPU.0
    families = {name.partition(".")[0] for name in present}
    known = {*present, *families, *(f"{name}.0" for name in families)}
    if device not in known:
        raise EngineError(
            f"OpenVINO sees no {device} on this machine, only {', '.join(present)}; install the "
            "driver of the device, or use another"
        )
    return device


def _settings(core: Any, device: str, options: BackendOptions, precision: str) -> dict[str, str]:
    settings = {"PERFORMANCE_HINT": options.goal.upper()}
    if options.inference_precision is not None:
        settings["INFERENCE_PRECISION_HINT"] = _HINTS[options.inference_precision]
    elif precision == "fp16" and "FP16" in read_property(core, device, "OPTIMIZATION_CAPABILITIES"):
        settings["EXECUTION_MODE_HINT"] = "ACCURACY"  # each layer as it is typed in the graph
    else:
        settings["INFERENCE_PRECISION_HINT"] = "f32"
    if device == "CPU":
        settings["INFERENCE_NUM_THREADS"] = str(options.cpu_threads())
        # two processes would bind their threads to the same first cores
        settings["ENABLE_CPU_PINNING"] = "NO"
    elif options.threads is not None:
        raise ConfigurationError(f"OpenVINO takes threads on the CPU, not on {device}")
    return settings


def _checked_precision(compiled: Any, options: BackendOptions, device: str) -> str:
    """The precision that is computed in. Raises EngineError if another was asked for."""
    found = computes_in(compiled)
    wanted = options.inference_precision
    hint = read_property(compiled, "INFERENCE_PRECISION_HINT")
    differs = (hint and hint.to_string() != _HINTS.get(wanted or "")) or (
        found not in (wanted, "int8", "unknown")
    )
    if wanted is not None and differs:
        raise EngineError(
            f"{device} does not compute in {wanted}: OpenVINO would take "
            f"{hint.to_string() if hint else found}. Leave inference_precision out, or ask for "
            "one that the device has"
        )
    return found
