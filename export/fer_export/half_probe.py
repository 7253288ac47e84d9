"""How large the tensors and sums of a core become on crops, and where NaN or Inf first appears.

It runs in ONNX Runtime on the CPU, with nodes added that reduce each tensor to one number.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from fer_calib.crops import Crops, batch_size
from fer_calib.layers import CORE_INPUT, CORE_OUTPUT
from fer_calib.onnx_graph import model_of
from fer_calib.running import session_of
from fer_edge.backends.onnxruntime_engine import ort
from fer_edge.system.progress import track
from fer_export.half_graph import FloatGraph, emulate

FloatArray = npt.NDArray[np.float32]

_EXTREMES = ("ReduceMax", "ReduceMin", "ReduceSum")
"""The sum finds NaN and Inf, which the other two may lose."""

_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_ADDING = (*_PRODUCTS, "GlobalAveragePool", "ReduceL1", "ReduceMean", "ReduceSum")
"""Operators that add up more than their outputs show."""


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
    nodes, is_float = graph.nodes.values(), TensorProto.FLOAT
    tensors = [CORE_INPUT, *(name for node in nodes for name in node.output)]
    tensors = [name for name in tensors if graph.types.get(name) == is_float]
    adding = [n for n in nodes if n.op_type in _ADDING and graph.types.get(n.input[0]) == is_float]
    probes = [_reduced(op, name) for op in _EXTREMES for name in tensors]
    constants: list[TensorProto] = []
    for node in adding:
        probes += _on_magnitudes(node, graph.ranks[node.input[0]], constants)
    session = session_of(
        model_of(
            graph.header,
            [*nodes, *probes],
            [*graph.tensors.values(), *constants],
            [CORE_OUTPUT, *(probe.output[0] for probe in probes if probe.name)],
        ),
        optimised=False,
    )
    logits, found = _watch(session, crops, "watching the network")
    count = len(_EXTREMES) * len(tensors)
    high, low, total = np.abs(found[:count]).reshape(len(_EXTREMES), -1)
    peaks = np.where(np.isfinite(total), np.maximum(high, low), np.nan)
    sums = dict(zip((node.name for node in adding), found[count:].tolist(), strict=True))
    return Observation(dict(zip(tensors, peaks.tolist(), strict=True)), sums, logits)


def broken_tensors(half: onnx.ModelProto, crops: Crops) -> tuple[FloatArray, list[str]]:
    """Logits ``(N, K)`` in float16, and the tensors that held NaN or Inf, the first ones first."""
    model, rounded = emulate(half)
    probes = [_reduced("ReduceSum", name) for name in rounded]
    outputs = [CORE_OUTPUT, *(probe.output[0] for probe in probes)]
    probed = model_of(model, [*model.graph.node, *probes], model.graph.initializer, outputs)
    session = session_of(probed, optimised=False)
    del model, probed  # the session has their weights in a file
    logits, found = _watch(session, crops, "watching float16")
    seen = zip(rounded, np.isfinite(found).tolist(), strict=True)
    return logits, [name for name, finite in seen if not finite]


def _reduced(op: str, name: str) -> NodeProto:
    """A node that reduces a tensor to one number."""
    output = f"{name}.{op}"
    return helper.make_node(op, [name], [output], output, keepdims=0)


def _on_magnitudes(node: NodeProto, rank: int, constants: list[TensorProto]) -> list[NodeProto]:
    """Repeat what a node adds up on magnitudes; ``rank`` is that of its first input.

    The last of the nodes, which alone has a name, gives the largest sum.
    """
    added = f"{node.name}.added"
    terms = [f"{node.name}.terms{n}" if given else "" for n, given in enumerate(node.input)]
    if node.op_type in _PRODUCTS:
        sums = NodeProto()
        sums.CopyFrom(node)
        del sums.input[:], sums.output[:]
        sums.name = ""
        sums.input.extend(terms)
        sums.output.append(added)
    else:
        axes: Iterable[str] = node.input[1:2]  # none means everywhere
        if node.op_type == "GlobalAveragePool":  # all but batch and channels
            axes = [f"{node.name}.axes"]
            constants.append(numpy_helper.from_array(np.arange(2, rank), axes[0]))
        sums = helper.make_node("ReduceSum", [terms[0], *axes], [added])
        terms = terms[:1]
    magnitudes = [
        helper.make_node("Abs", [given], [term])
        for given, term in zip(node.input, terms, strict=False)
        if given
    ]
    return [*magnitudes, sums, _reduced("ReduceMax", added)]


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
