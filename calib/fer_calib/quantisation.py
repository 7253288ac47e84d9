"""Rewriting a float32 core in INT8, with explicit quantisers (Q/DQ) of ONNX's own operators.

Integer arithmetic as in Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018, section 2.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from fer_calib.crops import Crops
from fer_calib.layers import CoreGraph, Layer
from fer_calib.observation import Observation, observe
from fer_calib.onnx_graph import check, model_of
from fer_calib.placement import Placement, place
from fer_calib.schemes import Scheme, find_scheme

WEIGHT_SUFFIX = ".weight_int8"
"""The integer weights of a layer have its name and this suffix."""

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
    ConfigurationError for an unknown scheme or layer.
    """
    chosen, graph = find_scheme(scheme), CoreGraph(core)
    placement = place(graph, chosen, keep_float)
    observed = observe(core, calibration) if isinstance(calibration, Crops) else calibration
    return _Rewriter(graph, placement, chosen, observed).model()


class _Rewriter:
    """Builds the new graph: a pair of quantisers behind each tensor, integers as weights."""

    def __init__(
        self, graph: CoreGraph, placement: Placement, scheme: Scheme, observed: Observation
    ) -> None:
        self._graph = graph
        self._scheme = scheme
        self._arrays: list[onnx.TensorProto] = []
        self._constants: list[onnx.NodeProto] = []
        self._pairs: dict[str, list[onnx.NodeProto]] = {}
        self._nodes = {node.name: _copy(node) for node in graph.model.graph.node}
        spans = {name: observed.tensors[name].span for name in placement.readers}
        scales = {name: self._add_pair(name, span) for name, span in spans.items()}
        for name, readers in placement.readers.items():
            for reader in readers:
                _replace_input(self._nodes[reader], name, f"{name}.dequantized")
        for layer in placement.layers:
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
        self._add_arrays(zip(parameters, (np.array(scale), np.array(zero_point)), strict=True))
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
        node.input[1] = self._add_constant(f"{layer.name}{WEIGHT_SUFFIX}", integers, scales, layer)
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
        layer: Layer | None = None,
    ) -> str:
        """Add integers with a dequantiser per channel; returns the name of its output."""
        parameters = [name, f"{name}.scale", f"{name}.zero_point"]
        zero_points = np.zeros(scales.shape, integers.dtype)
        self._add_arrays(zip(parameters, (integers, scales, zero_points), strict=True))
        axis = layer.axis if layer else 0
        dequantised = f"{name}.dequantized"
        self._constants.append(_node("DequantizeLinear", parameters, dequantised, axis=axis))
        return dequantised

    def _add_arrays(self, named: zip[tuple[str, np.ndarray]]) -> None:
        self._arrays += [numpy_helper.from_array(values, name) for name, values in named]


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


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    copied = onnx.NodeProto()
    copied.CopyFrom(node)
    return copied


def _replace_input(node: onnx.NodeProto, old: str, new: str) -> None:
    for position, name in enumerate(node.input):
        if name == old:
            node.input[position] = new
