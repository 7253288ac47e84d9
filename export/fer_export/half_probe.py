"""How large the tensors and sums of a core become on crops, and where NaN or Inf first appears.

It runs in ONNX Runtime on the CPU, with nodes added that reduce each tensor to one number.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from fer_calib.crops import Crops, batch_size
from fer_calib.layers import CORE_INPUT, CORE_OUTPUT
from fer_calib.onnx_graph import OnnxGraph, model_of
from fer_calib.running import session_of
from fer_edge.backends.onnxruntime_engine import ort
from fer_edge.system.progress import track
from fer_export.half_graph import FloatGraph

FloatArray = npt.NDArray[np.float32]

_EXTREMES = ("ReduceMax", "ReduceMin", "ReduceSum")
"""The sum finds NaN and Inf, which the other two may lose."""

_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_ADDING = (*_PRODUCTS, "GlobalAveragePool", "ReduceL1", "ReduceMean", "ReduceSum")
"""Operators that add up more than their outputs show."""

_SPACE = "axes_of_space"
"""A constant with the axes that GlobalAveragePool adds up."""


@dataclass(frozen=True, eq=False)
class Observation:
    """What a float32 core did.

    ``peaks`` is the largest magnitude of each float tensor, NaN where NaN or Inf was seen. ``sums``
    is, for each node that adds up products or elements, the same sum over magnitudes: it bounds
    every partial sum, in whatever order an engine adds. ``logits`` is ``(N, K)``.
    """

    peaks: dict[str, float]
    sums: dict[str, float]
    logits: FloatArray


def observe(graph: FloatGraph, crops: Crops) -> Observation:
    """Run a core on crops and record all its tensors and sums."""
    outputs = (name for node in graph.nodes for name in node.output)
    tensors = [name for name in (CORE_INPUT, *outputs) if graph.is_float(name)]
    adding = {
        name: node
        for name, node in graph.named.items()
        if node.op_type in _ADDING and graph.is_float(node.input[0])
    }
    probes = [_reduced(op, name) for op in _EXTREMES for name in tensors]
    for name, node in adding.items():
        probes += _on_magnitudes(name, node)
    session = session_of(
        model_of(
            graph.model,
            [*graph.nodes, *probes],
            [*graph.initializers.values(), numpy_helper.from_array(np.array([2, 3]), _SPACE)],
            [CORE_OUTPUT, *(probe.output[0] for probe in probes if probe.name)],
        ),
        optimised=False,
    )
    logits, found = _watch(session, crops, "watching the network")
    count = len(_EXTREMES) * len(tensors)
    high, low, total = np.abs(found[:count]).reshape(len(_EXTREMES), -1)
    peaks = np.where(np.isfinite(total), np.maximum(high, low), np.nan)
    sums = dict(zip(adding, found[count:].tolist(), strict=True))
    return Observation(dict(zip(tensors, peaks.tolist(), strict=True)), sums, logits)


def broken_tensors(half: onnx.ModelProto, crops: Crops) -> tuple[FloatArray, list[str]]:
    """Logits ``(N, K)`` in float16, and the tensors that held NaN or Inf, the first ones first."""
    nodes, rounded = _emulating(half)
    probes = [_reduced("ReduceSum", name) for name in rounded]
    outputs = [CORE_OUTPUT, *(probe.output[0] for probe in probes)]
    probed = model_of(half, [*nodes, *probes], half.graph.initializer, outputs)
    session = session_of(probed, optimised=False)
    del probed  # the session has its weights in a file
    logits, found = _watch(session, crops, "watching float16")
    seen = zip(rounded, np.isfinite(found).tolist(), strict=True)
    return logits, [name for name, finite in seen if not finite]


def _emulating(half: onnx.ModelProto) -> tuple[list[NodeProto], list[str]]:
    """Float32 nodes that give what float16 would, and the tensors that they round.

    An engine without float16 arithmetic runs a float16 graph in float32 and drops the casts, so
    nothing overflows there. Here each float16 tensor of ``half`` is rounded, and what exceeds
    float16 becomes Inf. Inside a node it computes in float32. Tensors keep their names. Run them
    without graph optimisations, which could drop the casts.
    """
    graph = OnnxGraph(half)
    halves = {name for name, kind in graph.types.items() if kind == "FLOAT16"}
    weights = [name for name in graph.initializers if name in halves]
    nodes, rounded = [_cast(name, f"{name}.f32", TensorProto.FLOAT) for name in weights], []
    for source in graph.nodes:
        node = deepcopy(source)
        node.input[:] = [f"{name}.f32" if name in weights else name for name in source.input]
        nodes.append(node)
        for position, name in enumerate(source.output):
            if name in halves:
                node.output[position] = f"{name}.exact"
                nodes.append(_cast(f"{name}.exact", f"{name}.f16", TensorProto.FLOAT16))
                nodes.append(_cast(f"{name}.f16", name, TensorProto.FLOAT))
                rounded.append(name)
    return nodes, rounded


def _cast(source: str, target: str, to: int) -> NodeProto:
    return helper.make_node("Cast", [source], [target], to=to)


def _reduced(op: str, name: str) -> NodeProto:
    """A node that reduces a tensor to one number."""
    output = f"{name}.{op}"
    return helper.make_node(op, [name], [output], output, keepdims=0)


def _on_magnitudes(name: str, node: NodeProto) -> list[NodeProto]:
    """Repeat what a node adds up on magnitudes.

    The last of the nodes, which alone has a name, gives the largest sum.
    """
    terms = [f"{name}.terms{n}" if given else "" for n, given in enumerate(node.input)]
    if node.op_type in _PRODUCTS:
        sums = deepcopy(node)
        sums.name, sums.input[:] = "", terms
        sums.output[:] = [f"{name}.added"]
    else:
        axes = [_SPACE] if node.op_type == "GlobalAveragePool" else node.input[1:2]
        terms = terms[:1]
        sums = helper.make_node("ReduceSum", [*terms, *axes], [f"{name}.added"])
    magnitudes = [
        helper.make_node("Abs", [given], [term])
        for given, term in zip(node.input, terms, strict=False)
        if given
    ]
    return [*magnitudes, sums, _reduced("ReduceMax", f"{name}.added")]


def _watch(
    session: ort.InferenceSession, crops: Crops, label: str
) -> tuple[FloatArray, npt.NDArray[np.float64]]:
    """Logits of all crops, and of each scalar output the value that is largest in magnitude;
    NaN stays NaN.
    """
    names = [output.name for output in session.get_outputs()]
    parts = -(-len(crops) // batch_size(*crops.tensors.shape[1:3]))
    found, logits = np.zeros(len(names) - 1), []
    for batch in track(crops.batches(), parts, label):
        logit, *scalars = session.run(names, {CORE_INPUT: batch})
        logits.append(logit)
        values = np.array(scalars, np.float64)
        found = np.where((np.abs(values) <= np.abs(found)) | np.isnan(found), found, values)
    return np.concatenate(logits), found
