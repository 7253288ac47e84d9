"""An INT8 core whose remaining float32 nodes become float16, and its quantisers' scales too.

With float32 next to int8, TensorRT fuses no attention and moves floats of twice the size. From
opset 19 on, quantisers take scales in float16.
"""

from __future__ import annotations

from collections.abc import Collection
from copy import deepcopy

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

from fer_calib.onnx_graph import check
from fer_export.half_graph import FloatGraph, to_half_graph

MIXED_OPSET = 19
"""The first in which Q/DQ scales may be float16; TensorRT 10.3 reads up to 20."""

_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
_INT8_MAX = 127
_BIAS = 2


def to_mixed(core: onnx.ModelProto, islands: Collection[str]) -> onnx.ModelProto:
    """Make the mixed form of an INT8 core, which is symmetric Q/DQ in float32.

    ``islands`` names the nodes that stay in float32: those of the fp16 form of the same network,
    whose nodes have the same names. Scales are rounded up to float16 and weights follow them, so
    no integer is cut off.
    """
    model = deepcopy(core)
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = max(entry.version, MIXED_OPSET)
    _round_scales(model.graph)
    _split_biases(model.graph)
    mixed = to_half_graph(FloatGraph(model), {*islands, *(f"{name}.bias" for name in islands)})
    check(mixed)
    return mixed


def _round_scales(graph: onnx.GraphProto) -> None:
    """Round every scale up to float16; a weight's integers shrink with its scale's growth."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    growth = {}
    for name in {n.input[1] for n in graph.node if n.op_type in (_QUANTIZE, _DEQUANTIZE)}:
        exact = numpy_helper.to_array(stored[name]).astype(np.float32)
        rounded = _up_to_half(exact)
        growth[name] = exact / rounded
        stored[name].CopyFrom(numpy_helper.from_array(rounded, name))
    for node in graph.node:
        if node.op_type == _DEQUANTIZE and node.input[0] in stored:
            axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
            weight = stored[node.input[0]]
            integers = numpy_helper.to_array(weight)
            factor = growth[node.input[1]]
            if factor.ndim:
                along = [-1 if k == axis % integers.ndim else 1 for k in range(integers.ndim)]
                factor = factor.reshape(along)
            steps = np.rint(integers * factor).clip(-_INT8_MAX, _INT8_MAX).astype(integers.dtype)
            weight.CopyFrom(numpy_helper.from_array(steps, weight.name))


def _split_biases(graph: onnx.GraphProto) -> None:
    """Add biases in nodes of their own.

    ONNX Runtime would quantise the bias of a quantised product with the product of both scales,
    which in float16 is 0 for small ones. TensorRT fuses the addition again.
    """
    stored = {tensor.name: tensor for tensor in graph.initializer}
    quantized = {n.output[0] for n in graph.node if n.op_type == _DEQUANTIZE}
    nodes: list[NodeProto] = []
    for node in graph.node:
        nodes.append(node)
        with_bias = len(node.input) > _BIAS and node.input[_BIAS] in stored
        if not with_bias or not quantized.issuperset(node.input[:_BIAS]):
            continue
        bias, output = node.input.pop(_BIAS), node.output[0]
        if node.op_type == "Conv":
            values = numpy_helper.to_array(stored[bias])
            name = f"{bias}.column"
            column = values.reshape(-1, 1, 1)
            graph.initializer.append(numpy_helper.from_array(column, name))
            bias = name
        node.output[0] = f"{output}.product"
        nodes.append(helper.make_node("Add", [node.output[0], bias], [output], f"{node.name}.bias"))
    copies = [deepcopy(node) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def _up_to_half(values: np.ndarray) -> np.ndarray:
    """The smallest float16 that is not below each value, as float32."""
    half = values.astype(np.float16)
    low = half.astype(np.float32) < values
    return np.where(low, np.nextafter(half, np.float16(np.inf)), half).astype(np.float32)
