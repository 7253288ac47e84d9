"""What a core does on crops: how large its tensors and sums become, and where it leaves numbers.

Everything is measured by running the core itself, in ONNX Runtime on the CPU, with probes added.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from fer_calib.crops import batch_size
from fer_calib.layers import CORE_INPUT, CORE_OUTPUT
from fer_calib.onnx_graph import model_of
from fer_calib.running import session_of
from fer_edge.artifacts.spec import InputSpec
from fer_edge.system.progress import track
from fer_export.half_graph import Emulation, FloatGraph

__all__ = ["Observation", "broken_tensors", "normalized", "observe"]

FloatArray = npt.NDArray[np.float32]

_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_ADDING = (*_PRODUCTS, "GlobalAveragePool", "ReduceL1", "ReduceMean", "ReduceSum")
"""Operators that add up more than their outputs show."""


@dataclass(frozen=True, eq=False)
class Observation:
    """What a float32 core did.

    ``peaks`` is the largest magnitude of each float tensor, NaN where NaN or Inf was seen.
    ``sums`` bounds, for each node that adds up products or elements, every partial sum in whatever
    order an engine adds: it is the same sum over magnitudes. ``logits`` is ``(N, K)``.
    """

    peaks: dict[str, float]
    sums: dict[str, float]
    logits: FloatArray


def normalized(crops: npt.NDArray[np.uint8], spec: InputSpec) -> FloatArray:
    """What the contract's nodes make of crops ``(N, H, W, C)``: float32 ``(N, C, H, W)``."""
    mean, std = (np.array(values, np.float32) * 255 for values in (spec.mean, spec.std))
    planes = ((crops.astype(np.float32) - mean) * (1 / std)).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(planes, np.float32)


def observe(graph: FloatGraph, inputs: FloatArray) -> Observation:
    """Run a core on ``inputs``, float32 ``(N, C, H, W)``, and record all its tensors and sums."""
    nodes = graph.nodes.values()
    tensors = [CORE_INPUT, *(name for node in nodes for name in node.output)]
    tensors = [name for name in tensors if _is_float(graph, name)]
    adding = [n for n in nodes if n.op_type in _ADDING and _is_float(graph, n.input[0])]
    probes = _Probes()
    extremes = [output for name in tensors for output in probes.extremes(name)]
    added = [probes.largest_sum(node, graph.ranks[node.input[0]]) for node in adding]
    logits, found = _watch(
        probes.added_to(graph.header, nodes, graph.tensors.values(), [*extremes, *added]),
        inputs,
        "watching the network",
    )
    per_tensor = np.abs(found[: len(extremes)]).reshape(len(tensors), -1)
    largest = np.where(np.isfinite(per_tensor[:, 2]), per_tensor[:, :2].max(axis=1), np.nan)
    sums = dict(zip((node.name for node in adding), found[len(extremes) :].tolist(), strict=True))
    return Observation(dict(zip(tensors, largest.tolist(), strict=True)), sums, logits)


def broken_tensors(emulation: Emulation, inputs: FloatArray) -> tuple[FloatArray, list[str]]:
    """Logits ``(N, K)`` in float16, and the tensors that held NaN or Inf, the first ones first."""
    probes = _Probes()
    outputs = [probes.total(name) for name in emulation.rounded]
    graph = emulation.model.graph
    logits, found = _watch(
        probes.added_to(emulation.model, graph.node, graph.initializer, outputs),
        inputs,
        "watching float16",
    )
    seen = zip(emulation.rounded, np.isfinite(found).tolist(), strict=True)
    return logits, [name for name, finite in seen if not finite]


def _is_float(graph: FloatGraph, name: str) -> bool:
    return graph.types.get(name) == TensorProto.FLOAT


class _Probes:
    """Nodes that reduce a tensor to one number; none of them changes what the core computes."""

    def __init__(self) -> None:
        self._nodes: list[NodeProto] = []
        self._constants: list[TensorProto] = []

    def extremes(self, name: str) -> list[str]:
        """The largest, the smallest and the total: the first two may lose a NaN."""
        ends = [self._reduced(op, name, f"{name}.{op}") for op in ("ReduceMax", "ReduceMin")]
        return [*ends, self.total(name)]

    def total(self, name: str) -> str:
        """The sum over a tensor: NaN or Inf where one of its elements is."""
        return self._reduced("ReduceSum", name, f"{name}.total")

    def largest_sum(self, node: NodeProto, rank: int) -> str:
        """Repeat what a node adds up on magnitudes; ``rank`` is that of its first input."""
        name, terms = node.name, node.input[0]
        if node.op_type in _PRODUCTS:
            repeated = NodeProto()
            repeated.CopyFrom(node)
            repeated.name = ""
            del repeated.input[:], repeated.output[:]
            repeated.input.extend(
                self._node("Abs", [given], f"{name}.terms{position}") if given else ""
                for position, given in enumerate(node.input)
            )
            repeated.output.append(f"{name}.added")
            self._nodes.append(repeated)
        else:
            magnitudes = self._node("Abs", [terms], f"{name}.terms")
            self._node("ReduceSum", [magnitudes, *self._axes(node, rank)], f"{name}.added")
        return self._reduced("ReduceMax", f"{name}.added", f"{name}.sum")

    def added_to(
        self,
        source: onnx.ModelProto,
        nodes: Iterable[NodeProto],
        tensors: Iterable[TensorProto],
        outputs: Iterable[str],
    ) -> onnx.ModelProto:
        """A model like ``source`` with these probes, and the logits and ``outputs`` as outputs."""
        return model_of(
            source, [*nodes, *self._nodes], [*tensors, *self._constants], [CORE_OUTPUT, *outputs]
        )

    def _axes(self, node: NodeProto, rank: int) -> list[str]:
        """The input that tells ReduceSum where a node adds up; none means everywhere."""
        if node.op_type != "GlobalAveragePool":
            return list(node.input[1:2])
        name = f"{node.name}.axes"  # all but batch and channels
        self._constants.append(numpy_helper.from_array(np.arange(2, rank), name))
        return [name]

    def _node(self, op: str, inputs: list[str], output: str) -> str:
        self._nodes.append(helper.make_node(op, inputs, [output]))
        return output

    def _reduced(self, op: str, name: str, output: str) -> str:
        self._nodes.append(helper.make_node(op, [name], [output], keepdims=0))
        return output


def _watch(
    model: onnx.ModelProto, inputs: FloatArray, label: str
) -> tuple[FloatArray, npt.NDArray[np.float64]]:
    """Logits over all ``inputs``, and of each scalar output the value that is largest in magnitude;
    NaN stays NaN.
    """
    names = [output.name for output in model.graph.output]
    session = session_of(model, optimised=False)
    del model  # its weights are mapped from a file now
    size = batch_size(*inputs.shape[2:])
    starts = range(0, len(inputs), size)
    found, logits = np.zeros(len(names) - 1), []
    for start in track(starts, len(starts), label):
        logit, *scalars = session.run(names, {CORE_INPUT: inputs[start : start + size]})
        logits.append(logit)
        values = np.array(scalars, np.float64)
        found = np.where((np.abs(values) <= np.abs(found)) | np.isnan(found), found, values)
    return np.concatenate(logits), found
