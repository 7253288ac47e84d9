"""How much of a network really is INT8: as its graph says, and as an engine runs it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx

from fer_calib.quantisation import WEIGHT_SUFFIX
from fer_edge.backends.onnxruntime_engine import ort, quiet_options
from fer_edge.errors import ConfigurationError
from fer_edge.system.cores import usable_cores
from fer_edge.system.dependencies import requires

__all__ = ["INSPECTORS", "Int8Share", "int8_share"]

_FLOAT_OPS = {"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul"}
_INT8_OPS = {
    "ConvInteger": 1,
    "MatMulInteger": 1,
    "MatMulIntegerToFloat": 1,
    "QGemm": 3,
    "QLinearConv": 3,
    "QLinearMatMul": 3,
}
"""ONNX Runtime's integer kernels, and which of their inputs is the weight."""

_TRANSPARENT = {"DequantizeLinear", "Transpose"}
_RESHAPING = {"Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
_OPENVINO_LAYERS = {"Convolution", "FullyConnected"}
_OPENVINO_INT8 = {"i8", "u8"}


@dataclass(frozen=True)
class Int8Share:
    """How many layers with a weight there are, how many are INT8, and the names of the others."""

    layers: int
    int8: int
    float_layers: tuple[str, ...]

    @property
    def share(self) -> float:
        """INT8 layers as a fraction of 1; 0 where there are no layers."""
        return self.int8 / max(self.layers, 1)


def int8_share(model: onnx.ModelProto, engine: str = "graph") -> Int8Share:
    """Count the layers of a core, or of an artifact with its contract, that compute in INT8.

    ``graph`` goes by the quantisers in the file; ``onnxruntime`` and ``openvino`` by the kernels
    that the engine chooses on this machine. Raises ConfigurationError for an unknown engine.
    """
    if engine not in INSPECTORS:
        raise ConfigurationError(f"cannot inspect {engine!r}; there are {', '.join(INSPECTORS)}")
    found = INSPECTORS[engine](model)
    float_layers = tuple(name for name, is_int8 in found if not is_int8)
    return Int8Share(len(found), len(found) - len(float_layers), float_layers)


def _of_graph(model: onnx.ModelProto) -> list[tuple[str, bool]]:
    producer, constants = _index(model)
    found = []
    for node in model.graph.node:
        if node.op_type not in _FLOAT_OPS or not _is_constant(node.input[1], producer, constants):
            continue
        is_int8 = all(_is_dequantised(name, producer) for name in node.input[:2])
        found.append((_layer_name(node, producer), is_int8))
    return found


def _of_onnxruntime(model: onnx.ModelProto) -> list[tuple[str, bool]]:
    with tempfile.TemporaryDirectory() as folder:
        settings = quiet_options(usable_cores())
        settings.optimized_model_filepath = str(Path(folder) / "optimised.onnx")
        ort.InferenceSession(
            model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
        )
        optimised = onnx.load(settings.optimized_model_filepath)
    producer, constants = _index(optimised)
    found = []
    for node in optimised.graph.node:
        weight = 1 if node.op_type in _FLOAT_OPS else _INT8_OPS.get(node.op_type)
        if weight is not None and _is_constant(node.input[weight], producer, constants):
            found.append((node.name, node.op_type in _INT8_OPS))
    return found


def _of_openvino(model: onnx.ModelProto) -> list[tuple[str, bool]]:
    with requires("openvino"):
        from fer_edge.backends.openvino_runtime import ov
    engine = ov.Core()
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = engine.compile_model(engine.read_model(model.SerializeToString()), "CPU", options)
    found = []
    for node in compiled.get_runtime_model().get_ordered_ops():
        told = node.get_rt_info()
        if told["layerType"].value in _OPENVINO_LAYERS:
            precision = told["runtimePrecision"].value
            found.append((node.get_friendly_name(), precision in _OPENVINO_INT8))
    return found


INSPECTORS: dict[str, Callable[[onnx.ModelProto], list[tuple[str, bool]]]] = {
    "graph": _of_graph,
    "onnxruntime": _of_onnxruntime,
    "openvino": _of_openvino,
}


def _index(model: onnx.ModelProto) -> tuple[dict[str, onnx.NodeProto], set[str]]:
    producer = {name: node for node in model.graph.node for name in node.output}
    return producer, {item.name for item in model.graph.initializer}


def _is_constant(name: str, producer: dict[str, onnx.NodeProto], constants: set[str]) -> bool:
    while name not in constants:
        node = producer.get(name)
        if node is None or node.op_type not in _TRANSPARENT:
            return False
        name = node.input[0]
    return True


def _is_dequantised(name: str, producer: dict[str, onnx.NodeProto]) -> bool:
    """Whether integers come here; those keep their values through a change of shape."""
    node = producer.get(name)
    while node is not None and node.op_type in _RESHAPING:
        node = producer.get(node.input[0])
    return node is not None and node.op_type == "DequantizeLinear"


def _layer_name(node: onnx.NodeProto, producer: dict[str, onnx.NodeProto]) -> str:
    name = node.input[1]
    if (maker := producer.get(name)) is not None:
        name = maker.input[0]
    stripped = name.removesuffix(WEIGHT_SUFFIX).removesuffix(".weight")
    return stripped if stripped != name else node.name
