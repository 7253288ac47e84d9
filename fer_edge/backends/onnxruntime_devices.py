"""The devices of ONNX Runtime: which provider each is, what it has to be told, and its session."""

from __future__ import annotations

import importlib
import platform
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fer_edge.backends.base import BackendOptions
from fer_edge.backends.onnxruntime_engine import ort
from fer_edge.errors import ConfigurationError, EngineError, MissingDependencyError
from fer_edge.system.folders import data_folder

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
RTX = "NvTensorRTRTXExecutionProvider"

_PROVIDERS = {"cpu": CPU, "cuda": CUDA, "tensorrt": TENSORRT, "tensorrt-rtx": RTX}
_COMPILING = {TENSORRT: "trt", RTX: "nv"}
"""Providers that build an engine, and how the names of their options begin."""

_RTX_PACKAGE = "onnxruntime_ep_nv_tensorrt_rtx"

LARGEST_BATCH = 32
"""Of a dynamic graph on a provider that builds engines: one that grows would be built anew."""


@dataclass(frozen=True)
class Device:
    """A provider; ``number`` counts the GPUs that it sees."""

    provider: str
    number: int = 0

    @property
    def compiles(self) -> bool:
        """Whether the provider builds an engine, for a range of batches."""
        return self.provider in _COMPILING

    def options(self, precision: str, shape: tuple[int, int, int] | None) -> dict[str, str]:
        """The provider's options for an artifact of ``precision`` and crops of ``shape``.

        ``shape`` is None for a graph with a fixed batch.
        """
        options = {"device_id": str(self.number)}
        if self.provider == CUDA:
            options["use_tf32"] = "0"  # TF32 would be used silently, and fp32 has to be fp32
        if self.provider == TENSORRT:
            options |= _kept_engines()
            # without these, TensorRT up to 10 refuses quantisers and widens float16
            if precision == "int8":
                options["trt_int8_enable"] = "True"
            if precision == "fp16":
                options["trt_fp16_enable"] = "True"
        if self.compiles and shape is not None:
            start, sizes = _COMPILING[self.provider], "x".join(map(str, shape))
            for name, batch in (("min", 1), ("opt", 1), ("max", LARGEST_BATCH)):
                options[f"{start}_profile_{name}_shapes"] = f"crop:{batch}x{sizes}"
        return options

    def session(self, model: bytes, settings: Any, options: dict[str, str]) -> ort.InferenceSession:
        """Open ``model``; raises what ONNX Runtime raises, and EngineError without the GPU."""
        if self.provider == RTX:
            settings.add_provider_for_devices([rtx_device(self.number)], options)
            return ort.InferenceSession(model, settings, enable_fallback=False)
        chain = [(self.provider, options)]
        if self.provider == TENSORRT:  # what it leaves, the CUDA provider runs
            chain.append((CUDA, {"device_id": str(self.number), "use_tf32": "0"}))
        # with the fallback, the CPU silently replaces a provider that fails
        return ort.InferenceSession(model, settings, providers=chain, enable_fallback=False)


def device_named(name: str) -> Device:
    """Look up a device.

    Raises ConfigurationError for an unknown one, EngineError if this ONNX Runtime lacks its
    provider or NVIDIA's plugin, and MissingDependencyError if it is too old for plugins.
    """
    kind, number = BackendOptions(name).kind_and_number("ONNX Runtime", *_PROVIDERS)
    found = Device(_PROVIDERS[kind], number)
    if found.provider == RTX:
        _register_rtx()
    elif found.provider not in (available := ort.get_available_providers()):
        advice = (
            "On a Jetson, install the onnxruntime-gpu that NVIDIA builds for your JetPack, or use "
            "backend='tensorrt', which needs none"
            if platform.machine() == "aarch64"
            else "For CUDA and TensorRT: pip uninstall onnxruntime && pip install onnxruntime-gpu"
        )
        raise EngineError(
            f"this ONNX Runtime has no {found.provider}, only {', '.join(available)}. {advice}"
        )
    return found


def _kept_engines() -> dict[str, str]:
    """Where engines and timings are kept: building takes minutes, each time without a folder."""
    with suppress(ConfigurationError, OSError):
        cache = data_folder() / "onnxruntime-tensorrt"
        cache.mkdir(parents=True, exist_ok=True)  # it makes only the last folder of a path
        # these options take True, and not 1
        return {
            f"trt_{what}_cache_{key}": value
            for what in ("engine", "timing")
            for key, value in (("enable", "True"), ("path", str(cache)))
        }
    return {}


def _register_rtx() -> None:
    """Load NVIDIA's plugin into ONNX Runtime, once."""
    try:
        plugin = importlib.import_module(_RTX_PACKAGE)
    except ModuleNotFoundError as problem:
        if problem.name != _RTX_PACKAGE:
            raise
        raise EngineError(
            "the device tensorrt-rtx needs NVIDIA's plugin for ONNX Runtime: pip install "
            "onnxruntime-ep-nv-tensorrt-rtx-cu13 (RTX 30 and later, CUDA 13)"
        ) from problem
    if not hasattr(ort, "register_execution_provider_library"):
        raise MissingDependencyError(
            "an ONNX Runtime that takes plugins",
            "",
            f"this is {ort.__version__}",
            "Upgrade it with: pip install --upgrade onnxruntime",
        )
    if RTX in {device.ep_name for device in ort.get_ep_devices()}:
        return
    try:
        ort.register_execution_provider_library(RTX, plugin.get_library_path())
    except Exception as problem:  # onnxruntime's errors share no base of their own
        raise EngineError(
            "NVIDIA's plugin for ONNX Runtime does not load; it needs a GPU (RTX 30 or later) and "
            f"its driver: {' '.join(str(problem).split())[-200:]}"
        ) from problem


def rtx_device(number: int = 0) -> Any:
    """Find a GPU of NVIDIA's plugin, which ``device_named`` registers; EngineError without one."""
    found = [device for device in ort.get_ep_devices() if device.ep_name == RTX]
    if number >= len(found):
        raise EngineError(
            f"NVIDIA's plugin for ONNX Runtime sees {len(found)} GPUs that it can use, and number "
            f"{number} was asked for; it runs on RTX 30 and later"
        )
    return found[number]
