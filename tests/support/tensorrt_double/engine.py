"""TensorRT played by ONNX Runtime: a plan holds the ONNX, and its engine gives the true answers.

Every object is an autospecced instance of the real class whose methods take only what the
docstrings of the bindings say (``signatures``); enums, the logger and the progress monitor are the
real ones. The rules of TensorRT's developer guide that our code must keep are checked here: who
has to outlive whom, what a graph forbids, which batches a profile has.
"""

from __future__ import annotations

import gc
import json
import weakref
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from fer_edge.backends.onnxruntime_engine import ort
from tensorrt_double.context import SCRATCH, Context
from tensorrt_double.cuda import CudaDouble
from tensorrt_double.signatures import checked, stand_in

_MAGIC = b"PLAN"
_BUILD_STEPS = 3
_UNKNOWN = "N/A due to dynamic shapes"

Layers = list[dict[str, Any]]


def tensor(described: str) -> dict[str, Any]:
    return {"Name": "t", "Location": "Device", "Dimensions": [1], "Format/Datatype": described}


def convolution(described: str, name: str = "conv") -> dict[str, Any]:
    """A layer as the engine inspector tells it."""
    return {
        "Name": name,
        "LayerType": "CaskConvolution",
        "Inputs": [tensor(described)],
        "Outputs": [tensor(described)],
        "ParameterType": "Convolution",
        "TacticName": "sm80_xmma_fprop_implicit_gemm",
    }


@dataclass
class TensorRtDouble:
    """In place of the module ``tensorrt``.

    ``layers`` is what the inspector tells of engines that are built; ``gpu`` False makes the
    factories fail as they do without a GPU; ``refusal`` makes the parser refuse the model,
    ``failure`` the builder fail; ``warnings`` are logged while it builds.
    """

    bindings: ModuleType
    cuda: CudaDouble
    layers: Layers = field(default_factory=lambda: [convolution("Half")])
    gpu: bool = True
    refusal: str = ""
    failure: str = ""
    warnings: tuple[str, ...] = ()
    interrupt: bool = False
    configs: list[Any] = field(default_factory=list)
    networks: list[int] = field(default_factory=list)
    contexts: int = 0
    host_code_allowed: bool = False
    _models: dict[int, bytes] = field(default_factory=dict)
    _parsers: dict[int, weakref.ref[Any]] = field(default_factory=dict)

    def module(self) -> ModuleType:
        """A module like the real one, whose three factories make doubles."""
        real = self.bindings
        module = ModuleType("tensorrt")
        module.__spec__ = ModuleSpec("tensorrt", None)  # it is found, and counts as installed
        module.__dict__.update({n: getattr(real, n) for n in dir(real) if not n.startswith("__")})
        module.__dict__["__version__"] = real.__version__
        for name, make in (
            ("Builder", self._builder),
            ("Runtime", self._runtime),
            ("OnnxParser", self._parser),
        ):
            factory = checked(real, getattr(real, name), "__init__", make)
            setattr(module, name, factory)
        return module

    def _require_gpu(self) -> None:
        if not self.gpu:
            raise TypeError("pybind11::init(): factory function returned nullptr")

    # ---- building

    def _builder(self, logger: Any) -> Any:
        self._require_gpu()
        trt = self.bindings

        def create_network(flags: int = 0) -> Any:
            self.networks.append(flags)
            return _network(trt)

        def create_config() -> Any:
            self.configs.append(config := _config(trt, logger))
            return config

        def create_profile() -> Any:
            profile = stand_in(trt, trt.IOptimizationProfile, set_shape=lambda *_: None)
            return profile

        def build(network: Any, config: Any) -> bytes | None:
            return self._build(logger, network, config)

        return stand_in(
            trt,
            trt.Builder,
            create_network=create_network,
            create_builder_config=create_config,
            create_optimization_profile=create_profile,
            build_serialized_network=build,
        )

    def _parser(self, network: Any, logger: Any) -> Any:
        trt = self.bindings

        def parse(model: bytes) -> bool:
            if self.refusal:
                logger.log(trt.ILogger.ERROR, self.refusal)
                return False
            session = ort.InferenceSession(bytes(model))
            size = session.get_inputs()[0].shape
            network.get_input.side_effect = checked(
                trt,
                trt.INetworkDefinition,
                "get_input",
                lambda index: stand_in(
                    trt,
                    trt.ITensor,
                    name="crop",
                    shape=trt.Dims(tuple(n if isinstance(n, int) else -1 for n in size)),
                ),
            )
            self._models[id(network)] = bytes(model)
            return True

        error = stand_in(
            trt, trt.ParserError, desc=lambda: self.refusal, node_name=lambda: "node_7"
        )
        parser = stand_in(
            trt,
            trt.OnnxParser,
            parse=parse,
            num_errors=int(bool(self.refusal)),
            get_error=lambda _: error,
        )
        self._parsers[id(network)] = weakref.ref(parser)
        return parser

    def _build(self, logger: Any, network: Any, config: Any) -> bytes | None:
        trt = self.bindings
        _forget(config.set_timing_cache, config)
        gc.collect()  # mocks go in circles
        assert self._parsers[id(network)]() is not None, "the owner of the weights is gone"
        assert config.get_timing_cache() is not None, "the timing cache is gone"
        for message in self.warnings:
            logger.log(trt.ILogger.WARNING, message)
        logger.log(trt.ILogger.INFO, "not for our users")
        if not self._monitored(config.progress_monitor) or self.failure:
            logger.log(trt.ILogger.ERROR, self.failure or "cancelled")
            return None
        profile = config.add_optimization_profile.call_args
        batches = None
        if profile is not None:
            (_, *shapes), _ = profile.args[0].set_shape.call_args
            batches = [shape[0] for shape in shapes]
        header = {
            "batches": batches,
            "layers": self.layers,
            "detailed": config.profiling_verbosity is trt.ProfilingVerbosity.DETAILED,
        }
        return plan_bytes(self._models[id(network)], **header)

    def _monitored(self, monitor: Any) -> bool:
        monitor.phase_start("Building", None, _BUILD_STEPS)
        monitor.phase_start("Timing", "Building", _BUILD_STEPS)
        for step in range(_BUILD_STEPS):
            if self.interrupt:
                monitor._bar = _Interrupting()
            if not monitor.step_complete("Timing", step):
                return False
        monitor.phase_finish("Timing")
        for step in range(_BUILD_STEPS):
            if not monitor.step_complete("Building", step):
                return False
        monitor.phase_finish("Building")
        return True

    # ---- running

    def _runtime(self, logger: Any) -> Any:
        self._require_gpu()
        trt = self.bindings

        def deserialize(serialized_engine: bytes) -> Any:
            self.host_code_allowed = runtime.engine_host_code_allowed is True
            if not bytes(serialized_engine).startswith(_MAGIC):
                logger.log(trt.ILogger.ERROR, "Magic tag does not match")
                return None
            return self._engine(bytes(serialized_engine), logger)

        runtime = stand_in(trt, trt.Runtime, deserialize_cuda_engine=deserialize)
        return runtime

    def _engine(self, plan: bytes, logger: Any) -> Any:
        trt = self.bindings
        header, model = read_plan(plan)
        session = ort.InferenceSession(model)
        inputs, outputs = session.get_inputs(), session.get_outputs()
        names = [value.name for value in (*inputs, *outputs)]
        shapes = {
            value.name: tuple(n if isinstance(n, int) else -1 for n in value.shape)
            for value in (*inputs, *outputs)
        }
        kinds = {"tensor(uint8)": trt.DataType.UINT8, "tensor(float)": trt.DataType.FLOAT}
        types = {value.name: kinds[value.type] for value in (*inputs, *outputs)}
        given = {value.name for value in inputs}
        modes = {True: trt.TensorIOMode.INPUT, False: trt.TensorIOMode.OUTPUT}

        def profile(name: str, profile_index: int) -> list[Any]:
            assert profile_index == 0
            batches = header["batches"] or [shapes[name][0]] * 3
            return [trt.Dims((batch, *shapes[name][1:])) for batch in batches]

        def create_context(*strategy: Any) -> Any:
            self.contexts += 1
            batches = profile("crop", 0)
            return Context(trt, self.cuda, session, batches, shapes, logger, *strategy).double

        engine = stand_in(
            trt,
            trt.ICudaEngine,
            num_io_tensors=len(names),
            device_memory_size_v2=SCRATCH,
            get_tensor_name=lambda index: names[index],
            get_tensor_mode=lambda name: modes[name in given],
            get_tensor_dtype=lambda name: types[name],
            get_tensor_shape=lambda name: trt.Dims(shapes[name]),
            get_tensor_profile_shape=profile,
            create_engine_inspector=lambda: self._inspector(header),
            create_execution_context=create_context,
        )
        return engine

    def _inspector(self, header: dict[str, Any]) -> Any:
        trt = self.bindings

        def information(format: Any) -> str:  # noqa: A002
            assert format is trt.LayerInformationFormat.JSON
            layers = header["layers"]
            if not header["detailed"]:
                layers = [layer["Name"] for layer in layers]
            told = json.dumps({"Layers": layers, "Bindings": ["crop"]})
            shaped = inspector.execution_context is not None
            return told if shaped else told.replace('"Half"', f'"{_UNKNOWN}"')

        inspector = stand_in(
            trt, trt.EngineInspector, get_engine_information=information, execution_context=None
        )
        return inspector


class _Interrupting:
    """A progress bar at which the user presses Ctrl-C."""

    done = 0

    def advance(self, count: int, note: str) -> None:
        raise KeyboardInterrupt


def plan_bytes(model: bytes, **header: Any) -> bytes:
    """A plan of the double: an ONNX, and what the engine says of itself."""
    text = json.dumps(header).encode()
    return _MAGIC + len(text).to_bytes(4, "big") + text + model


def read_plan(plan: bytes) -> tuple[dict[str, Any], bytes]:
    start = len(_MAGIC) + 4
    end = start + int.from_bytes(plan[len(_MAGIC) : start], "big")
    return json.loads(plan[start:end]), plan[end:]


def _forget(method: Any, owner: Any) -> None:
    """Drop what a mock remembers of its calls: it would keep the arguments alive."""
    method.reset_mock()
    for calls in (owner.mock_calls, owner.method_calls):
        calls[:] = [call for call in calls if call[0] != "set_timing_cache"]


def _network(trt: ModuleType) -> Any:
    return stand_in(trt, trt.INetworkDefinition, get_input=lambda _: None)


def _config(trt: ModuleType, logger: Any) -> Any:
    """A config whose timing cache is weakly held, as TensorRT holds it."""
    attached: list[Any] = [None]

    def create_cache(serialized_timing_cache: bytes) -> Any:
        data = bytes(serialized_timing_cache)
        if data == b"damaged":
            return None
        return stand_in(
            trt, trt.ITimingCache, serialize=lambda: b"timed " + data, reset=lambda: data == b"old"
        )

    def set_cache(cache: Any, ignore_mismatch: bool) -> bool:
        if cache.reset() and not ignore_mismatch:
            logger.log(trt.ILogger.WARNING, "the cache is another device's")
            return False
        attached[0] = weakref.ref(cache)
        return True

    def keep(*_: Any) -> None:
        return None

    return stand_in(
        trt,
        trt.IBuilderConfig,
        create_timing_cache=create_cache,
        set_timing_cache=set_cache,
        get_timing_cache=lambda: attached[0]() if attached[0] else None,
        set_memory_pool_limit=keep,
        set_flag=keep,
        clear_flag=keep,
        add_optimization_profile=lambda _: 0,
    )
