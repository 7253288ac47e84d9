"""Rewriting a float32 core in INT8, with explicit quantisers (Q/DQ) of ONNX's own operators.

Integer arithmetic as in Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018, section 2.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from copy import deepcopy
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from fer_calib.crops import Crops
from fer_calib.layers import CORE_OUTPUT, CoreGraph, Layer
from fer_calib.observation import Observation, observe
from fer_calib.onnx_graph import check, model_of
from fer_calib.schemes import Scheme, find_scheme
from fer_edge.errors import ConfigurationError

_INT8_MAX, _UINT8_MAX = 127, 255
_BIAS_MAX = 2**30  # leaves room in 32 bits for the products that are added to it
_SMALLEST_SCALE = 1e-20


def quantize(
    core: onnx.ModelProto,
    calibration: Crops | Observation,
    scheme: str,
    *,
    keep_float: Collection[str] = (),
) -> onnx.ModelProto:
    """Quantise a core; ``core`` stays as it is.

    ``calibration`` is crops, or what was observed on them (``observe``), which several schemes can
    share. ``scheme`` is one of ``SCHEMES``; ``keep_float`` names layers
    (``CoreGraph(core).layers``) that stay in float. The result has the inputs, the outputs and the
    opset of the core. Raises ArtifactError for a graph that is no float32 core, and
    ConfigurationError for an unknown scheme or layer, and if no layer is left.
    """
    chosen, graph = find_scheme(scheme), CoreGraph(core)
    known = [layer.name for layer in graph.layers]
    if unknown := sorted(set(keep_float) - set(known)):
        raise ConfigurationError(
            f"this core has no layer {', '.join(unknown)}; it has {', '.join(known)}"
        )
    layers = [layer for layer in graph.layers if layer.name not in keep_float]
    if not layers:
        raise ConfigurationError("every layer is kept in float, so nothing would be INT8")
    observed = observe(core, calibration) if isinstance(calibration, Crops) else calibration
    return _Rewriter(graph, layers, chosen, observed).model()


def integer_readers(
    graph: CoreGraph, layers: Iterable[Layer], scheme: Scheme
) -> dict[str, set[str]]:
    """The nodes that read a tensor as integers, by tensor; all other nodes read it in float."""
    readers: dict[str, set[str]] = {}
    for layer in layers:
        readers.setdefault(layer.input, set()).add(layer.node)
    integer = [layer.output for layer in layers if layer.op == "Conv"]
    if scheme.outputs:  # ONNX Runtime fuses a convolution only if just a quantiser follows
        for output in integer:
            if output != CORE_OUTPUT:
                readers[output] = {node.name for node in graph.readers.get(output, [])}
    # A transformer's residual stream is read by layer norms alone, so it stays in float.
    convolved = {layer.output for layer in graph.layers if layer.op == "Conv"}
    for node in graph.additions():
        for operand in node.input:
            skips = operand in readers and operand not in convolved
            if skips or (scheme.sums == "all" and operand in {*integer, *readers}):
                readers.setdefault(operand, set()).add(node.name)
    return readers


class _Rewriter:
    """Builds the new graph: a pair of quantisers behind each tensor, integers as weights."""

    def __init__(
        self, graph: CoreGraph, layers: Iterable[Layer], scheme: Scheme, observed: Observation
    ) -> None:
        self._graph, self._scheme = graph, scheme
        self._arrays: list[onnx.TensorProto] = []
        self._constants: list[onnx.NodeProto] = []
        self._pairs: dict[str, list[onnx.NodeProto]] = {}
        self._nodes = {node.name: deepcopy(node) for node in graph.model.graph.node}
        scales = {}
        for name, readers in integer_readers(graph, layers, scheme).items():
            scales[name] = self._add_pair(name, observed.spans[name])
            for reader in readers:
                inputs = self._nodes[reader].input
                inputs[:] = [f"{given}.dequantized" if given == name else given for given in inputs]
        for layer in layers:
            self._quantise_parameters(layer, scales[layer.input])

    def model(self) -> onnx.ModelProto:
        """Assemble and check."""
        source = self._graph.model
        nodes = [*self._constants]
        for name in (item.name for item in source.graph.input):
            nodes += self._pairs.get(name, [])
        for node in self._nodes.values():
            nodes.append(node)
            for name in node.output:
                nodes += self._pairs.get(name, [])
        used = {name for node in nodes for name in node.input}
        arrays = [a for a in (*self._graph.initializers.values(), *self._arrays) if a.name in used]
        model = model_of(source, nodes, arrays)
        check(model)
        return model

    def _add_pair(self, name: str, span: tuple[float, float]) -> np.float32:
        """Add a quantiser and its dequantiser behind a tensor; returns the scale."""
        scale, zero_point = _activation_parameters(span, self._scheme.activations)
        parameters = [f"{name}.scale", f"{name}.zero_point"]
        self._add_arrays(parameters, np.array(scale), np.array(zero_point))
        self._pairs[name] = [
            _node("QuantizeLinear", [name, *parameters], f"{name}.quantized"),
            _node("DequantizeLinear", [f"{name}.quantized", *parameters], f"{name}.dequantized"),
        ]
        return scale

    def _quantise_parameters(self, layer: Layer, input_scale: np.float32) -> None:
        weight = self._graph.array(layer.weight)
        others = tuple(axis for axis in range(weight.ndim) if axis != layer.axis)
        limit = self._scheme.weight_limit
        scales = np.abs(weight).max(axis=others) / limit
        bias = None
        if layer.bias is not None and self._scheme.integer_bias:
            bias = self._graph.array(layer.bias)
            # the bias of a nearly dead channel would need more than 32 bits
            scales = np.maximum(scales, np.abs(bias) / (float(input_scale) * _BIAS_MAX))
        scales = _usable(scales)
        along = [-1 if axis == layer.axis else 1 for axis in range(weight.ndim)]
        steps = np.rint(weight / scales.reshape(along))
        integers = np.clip(steps, -limit, limit).astype(np.int8)
        node = self._nodes[layer.node]
        name = f"{layer.name}.weight_int8"
        node.input[1] = self._add_constant(name, integers, scales, layer.axis)
        if bias is not None:
            products = np.asarray(scales * input_scale, np.float32)
            rounded = np.rint(bias.astype(np.float64) / products)
            rounded = np.clip(rounded, -_BIAS_MAX, _BIAS_MAX).astype(np.int32)
            node.input[2] = self._add_constant(f"{layer.name}.bias_int32", rounded, products)

    def _add_constant(
        self,
        name: str,
        integers: npt.NDArray[np.signedinteger],
        scales: npt.NDArray[np.float32],
        axis: int = 0,
    ) -> str:
        """Add integers with a dequantiser per channel; returns the name of its output."""
        parameters = [name, f"{name}.scale", f"{name}.zero_point"]
        self._add_arrays(parameters, integers, scales, np.zeros(scales.shape, integers.dtype))
        dequantised = f"{name}.dequantized"
        self._constants.append(_node("DequantizeLinear", parameters, dequantised, axis=axis))
        return dequantised

    def _add_arrays(self, names: list[str], *arrays: npt.NDArray[Any]) -> None:
        self._arrays += map(numpy_helper.from_array, arrays, names)


def _activation_parameters(
    span: tuple[float, float], kind: str
) -> tuple[np.float32, np.int8 | np.uint8]:
    """Scale and zero-point of a tensor, by the kind of a scheme's activations."""
    low, high = span
    if kind == "int8" or (kind == "mixed" and low < 0):
        return _scale(max(-low, high), _INT8_MAX), np.int8(0)
    scale = _scale(high - low, _UINT8_MAX)
    zero_point = np.clip(np.rint(-low / float(scale)), 0, _UINT8_MAX)
    return scale, np.uint8(zero_point)


def _scale(extent: float, steps: int) -> np.float32:
    return np.float32(_usable(np.array(extent / steps, np.float32)))


def _usable(scales: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Replace scales of 0, which belong to tensors that are always 0, by 1."""
    return np.where(scales > _SMALLEST_SCALE, scales, 1).astype(np.float32)


def _node(op: str, inputs: list[str], output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs, [output], output, **attributes)
