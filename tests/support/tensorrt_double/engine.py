"""What of TensorRT needs a GPU, played by ONNX Runtime: deserialise, inspect, execute.

Every object is an autospecced instance of the real class whose methods take only what the
docstrings of the bindings say (``signatures``); all else in the module, enums and logger included,
is the real one. The rules of TensorRT's developer guide that our code must keep are checked here.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from fer_edge.backends.onnxruntime_engine import ort
from tensorrt_double.context import SCRATCH, Context
from tensorrt_double.cuda import CudaDouble
from tensorrt_double.signatures import checked, stand_in

_MAGIC = b"PLAN"
_UNKNOWN = "N/A due to dynamic shapes"

Layers = list[dict[str, Any]]


@dataclass
class TensorRtDouble:
    """In place of the module ``tensorrt``.

    ``gpu`` False makes the runtime fail as it does without a GPU. A plan is one of ``plan_bytes``,
    or whatever a real builder made last: then ``model`` is the ONNX that it parsed, ``layers`` is
    what the inspector tells of the engine, and ``batches`` its profile (None: a static batch).
    """

    bindings: ModuleType
    cuda: CudaDouble
    gpu: bool = True
    model: bytes = b""
    layers: Layers = field(default_factory=list)
    batches: list[int] | None = None
    contexts: int = 0
    host_code_allowed: bool = False
    dla_core: int | None = None

    def module(self) -> ModuleType:
        """A module like the real one, whose runtime is the double."""
        real = self.bindings
        module = ModuleType("tensorrt")
        module.__spec__ = ModuleSpec("tensorrt", None)  # it is found, and counts as installed
        module.__dict__.update({n: getattr(real, n) for n in dir(real) if not n.startswith("__")})
        module.__dict__["__version__"] = real.__version__
        module.__dict__["Runtime"] = checked(real, real.Runtime, "__init__", self._runtime)
        return module

    def _runtime(self, logger: Any) -> Any:
        if not self.gpu:
            raise TypeError("pybind11::init(): factory function returned nullptr")
        trt = self.bindings

        def deserialize(serialized_engine: bytes) -> Any:
            self.host_code_allowed = runtime.engine_host_code_allowed is True
            core = runtime.DLA_core
            self.dla_core = core if isinstance(core, int) else None
            plan = bytes(serialized_engine)
            if plan.startswith(_MAGIC):
                return self._engine(*read_plan(plan), logger)
            if self.model:
                header = {"batches": self.batches, "layers": self.layers, "detailed": True}
                return self._engine(header, self.model, logger)
            logger.log(trt.ILogger.ERROR, "Magic tag does not match")
            return None

        runtime = stand_in(trt, trt.Runtime, deserialize_cuda_engine=deserialize)
        return runtime

    def _engine(self, header: dict[str, Any], model: bytes, logger: Any) -> Any:
        trt = self.bindings
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
            if inspector.execution_context is None:
                told = re.sub(r'"Datatype": "\w+"', f'"Datatype": "{_UNKNOWN}"', told)
            return told

        inspector = stand_in(
            trt, trt.EngineInspector, get_engine_information=information, execution_context=None
        )
        return inspector


def plan_bytes(model: bytes, **header: Any) -> bytes:
    """A plan of the double: an ONNX, and what the engine says of itself."""
    text = json.dumps(header).encode()
    return _MAGIC + len(text).to_bytes(4, "big") + text + model


def read_plan(plan: bytes) -> tuple[dict[str, Any], bytes]:
    start = len(_MAGIC) + 4
    end = start + int.from_bytes(plan[len(_MAGIC) : start], "big")
    return json.loads(plan[start:end]), plan[end:]
