"""An artifact as OpenVINO reads and compiles it."""

from __future__ import annotations

import ctypes
import hashlib
import sys
from collections import Counter
from contextlib import suppress
from typing import Any

from fer_edge.artifacts.artifact import Artifact
from fer_edge.artifacts.spec import METADATA_KEY
from fer_edge.backends.contract import INPUT, Port, contract_spec, static_batch
from fer_edge.backends.external_data import refuse_external_data
from fer_edge.backends.openvino_cache import read_blob, write_blob
from fer_edge.backends.openvino_runtime import ov
from fer_edge.errors import ArtifactError, EngineError

REFUSALS = (RuntimeError, UnicodeDecodeError)
"""What OpenVINO raises; the second if its message, or a name, is not UTF-8."""

Settings = dict[str, str]

_DTYPES = {"u8": "uint8", "f32": "float32"}
_PRECISIONS = {"f32": "fp32", "bf16": "bf16", "f16": "fp16"}
_INTEGERS = {"i8", "u8"}
_INT8 = "int8"
_HEAVY = {"Convolution", "Deconvolution", "FullyConnected", "MatMul"}
_MAX_CACHED = 64 << 20
"""The largest artifact whose compiled form is kept, as it is written from several copies of it."""

_MAX_REASON = 300
_BEFORE_XML = b"\xef\xbb\xbf \t\r\n"


class ArtifactModel:
    """A model that was read from an artifact's bytes and can be compiled.

    ``spec`` is the artifact's. ``batch`` is the number of crops that it is fixed to, or None.
    Raises ArtifactError if OpenVINO cannot read it, or if it does not keep the contract.
    """

    def __init__(self, core: Any, artifact: Artifact) -> None:
        self._core, self._path = core, artifact.path
        self._cached = artifact.size_bytes <= _MAX_CACHED
        weights = _weights(artifact)
        try:
            self._model = core.read_model(artifact.data, weights)
            inputs, outputs = _ports(self._model.inputs), _ports(self._model.outputs)
            carried = _carried_spec(self._model, artifact)
        except REFUSALS as problem:
            raise ArtifactError(
                f"OpenVINO cannot read {artifact.path}: {reason(problem)}"
            ) from problem
        self.spec = contract_spec(carried, artifact, inputs, outputs)
        self.batch = static_batch(inputs)
        beside = (hashlib.sha256(data) for _, data in sorted(artifact.companions.items()))
        self._digests = [artifact.sha256, *(digest.hexdigest() for digest in beside)]

    def compile(self, device: str, settings: Settings, batch: int | None) -> Any:
        """Compile for ``batch`` crops, or for any number if it is None, or load from the cache.

        Raises EngineError.
        """
        try:
            can = read_property(self._core, device, "OPTIMIZATION_CAPABILITIES")
            if not self._cached or "EXPORT_IMPORT" not in can:
                return self._compile(device, settings, batch)
            name = str(self._core.get_property(device, "FULL_DEVICE_NAME"))
            key = [ov.__version__, name, device, sorted(settings.items()), self._digests, batch]
            if (blob := read_blob(key)) is not None:
                with suppress(*REFUSALS):  # undamaged, but made by another OpenVINO or driver
                    return self._core.import_model(blob, device, settings)
            compiled = self._compile(device, settings, batch)
            with suppress(*REFUSALS):  # not every device can export; the next start compiles again
                write_blob(key, compiled.export_model().getvalue())
            return compiled
        finally:
            _return_free_memory()

    def _compile(self, device: str, settings: Settings, batch: int | None) -> Any:
        model = self._model
        try:
            if batch != self.batch:
                model = model.clone()
                model.reshape({INPUT: [-1 if batch is None else batch, *self.spec.input.shape]})
            return self._core.compile_model(model, device, settings)
        except REFUSALS as problem:
            raise EngineError(
                f"OpenVINO cannot compile {self._path} for {device}: {reason(problem)}"
            ) from problem


def computes_in(compiled: Any) -> str:
    """The precision of the layers that take the time, from the graph that the device executes.

    It is ``int8`` if any of them is quantised, else that of most of them. It is ``unknown`` for a
    device that does not show its graph.
    """
    try:
        operations = compiled.get_runtime_model().get_ops()
    except RuntimeError:
        return "unknown"
    found = Counter(_layer_precision(op) for op in operations if _layer_type(op) in _HEAVY)
    if _INT8 in found:
        return _INT8
    return found.most_common(1)[0][0] if found else "unknown"


def read_property(owner: Any, *names: str) -> Any:
    """Read a property of a device or a compiled model; an empty tuple if it has none."""
    try:
        return owner.get_property(*names)
    except RuntimeError:
        return ()


def reason(problem: Exception) -> str:
    """OpenVINO's message without the names of its source files, which it begins with."""
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith("Exception from")] or lines
    return " ".join(told)[:_MAX_REASON] or repr(problem)


def _weights(artifact: Artifact) -> bytes:
    """The weights of an IR, from the file beside it; empty for an ONNX, which holds its own."""
    if artifact.format != "openvino":
        refuse_external_data(artifact)
        return b""
    # OpenVINO looks at the bytes alone, and would open an ONNX that was not checked
    if not artifact.data.lstrip(_BEFORE_XML).startswith(b"<"):
        raise ArtifactError(f"{artifact.path} is not an IR, which is XML; export the model again")
    name = artifact.path.with_suffix(".bin").name
    if name not in artifact.companions:
        raise ArtifactError(
            f"{artifact.path} has its weights in {name}, which is not beside it; copy both files "
            "of the IR"
        )
    return artifact.companions[name]


def _return_free_memory() -> None:
    """Return memory that compiling freed to the system: 12 MB for the default model."""
    if sys.platform == "linux":
        # of glibc; other C libraries return memory by themselves
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _layer_type(operation: Any) -> str:
    info = operation.get_rt_info()
    return str(info["layerType"].value) if "layerType" in info else ""


def _layer_precision(operation: Any) -> str:
    """The precision of a layer of the executed graph, which is the type of its activations.

    ``runtimePrecision`` would not do: it is the type of the weights, which may be stored in less.
    """
    kinds = [port.get_element_type().to_string() for port in operation.inputs()[:2]]
    if len(kinds) == 2 and set(kinds) <= _INTEGERS:  # noqa: PLR2004 - activations and weights
        return _INT8
    return _PRECISIONS.get(kinds[0] if kinds else "", "unknown")


def _carried_spec(model: Any, artifact: Artifact) -> str | None:
    # OpenVINO keeps the metadata of an ONNX under "framework"
    path = [METADATA_KEY] if artifact.format == "openvino" else ["framework", METADATA_KEY]
    return str(model.get_rt_info(path).value) if model.has_rt_info(path) else None


def _ports(outputs: list[Any]) -> list[Port]:
    ports = []
    for output in outputs:
        shape = output.get_partial_shape()
        sides = shape if shape.rank.is_static else ()
        fixed = tuple(side.get_length() if side.is_static else None for side in sides)
        kind = output.get_element_type().to_string()
        name = output.get_any_name() if output.get_names() else ""
        ports.append(Port(name, _DTYPES.get(kind, kind), fixed))
    return ports
