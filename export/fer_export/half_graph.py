"""A float32 core rewritten in float16, with casts around the nodes that stay in float32.

What can be float16 follows from ONNX's operator schemas. Every change of type is a ``Cast`` node,
as TensorRT's strongly typed networks require; only dequantisers give both types themselves.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, NodeProto, TensorProto, helper, numpy_helper

from fer_calib.layers import CORE_OUTPUT
from fer_calib.onnx_graph import OnnxGraph, model_of
from fer_edge.errors import ArtifactError

_DEFAULT_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True)
class HalfPorts:
    """Positions of a node's float32 inputs and outputs that can be float16."""

    inputs: frozenset[int] = frozenset()
    outputs: frozenset[int] = frozenset()


class FloatGraph(OnnxGraph):
    """A core with the type of every tensor, and what of it can be float16.

    ``named`` are its nodes under unique names. ``ports`` are by name of a node; every node that has
    a float16 form has some. Raises ArtifactError for what cannot be rewritten: control flow,
    operators outside ONNX, or types that cannot be inferred.
    """

    def __init__(self, core: onnx.ModelProto) -> None:
        super().__init__(core)
        self.named: dict[str, NodeProto] = {}
        for number, node in enumerate(self.nodes):
            _check(node, self.types)
            taken = not node.name or node.name in self.named
            self.named[f"{node.op_type}_{number}" if taken else node.name] = node
        imports = {entry.domain: entry.version for entry in self.model.opset_import}
        version = next(imports[domain] for domain in _DEFAULT_DOMAINS if domain in imports)
        found = {name: self._half_ports(node, version) for name, node in self.named.items()}
        self.ports = {name: ports for name, ports in found.items() if ports.inputs}

    def is_weight(self, name: str) -> bool:
        """Whether a tensor is a float32 initializer."""
        return name in self.initializers and self.is_float(name)

    def is_float(self, name: str) -> bool:
        """Whether a tensor is float32."""
        return self.types.get(name) == "FLOAT"

    def _half_ports(self, node: NodeProto, version: int) -> HalfPorts:
        """Inputs whose type variable admits float16, and the outputs bound to the same variables.

        What has a fixed type, such as the scales of Resize, stays as it is.
        """
        schema = onnx.defs.get_schema(node.op_type, version, "")
        admits = {
            constraint.type_param_str
            for constraint in schema.type_constraints
            if "tensor(float16)" in constraint.allowed_type_strs
        }

        def variables(names: Sequence[str], formal: Sequence[Any]) -> dict[int, str]:
            """Type variables of the float32 tensors by position; the last parameter may repeat."""
            return {
                position: formal[min(position, len(formal) - 1)].type_str
                for position, name in enumerate(names)
                if self.is_float(name)
            }

        read, written = variables(node.input, schema.inputs), variables(node.output, schema.outputs)
        inputs = {position: kind for position, kind in read.items() if kind in admits}
        outputs = [position for position, kind in written.items() if kind in inputs.values()]
        return HalfPorts(frozenset(inputs), frozenset(outputs))


def to_half_graph(graph: FloatGraph, in_float: Collection[str]) -> onnx.ModelProto:
    """Rewrite all nodes that can be in float16, except those named in ``in_float``.

    The core's input and output stay float32. A weight that both kinds of node use is stored twice.
    """
    rewriting = _Rewriting(graph)
    for name, node in graph.named.items():
        ports = HalfPorts() if name in in_float else graph.ports.get(name, HalfPorts())
        rewriting.add(name, node, ports)
    return rewriting.finish()


class _Rewriting:
    def __init__(self, graph: FloatGraph) -> None:
        self._graph = graph
        self._nodes: list[NodeProto] = []
        self._stored: dict[str, TensorProto] = {}
        self._half: set[str] = set()
        self._made: set[str] = set()

    def add(self, name: str, source: NodeProto, ports: HalfPorts) -> None:
        if source.op_type == "DequantizeLinear":
            return  # made where it is read, in the type that is needed
        if source.op_type == "QuantizeLinear" and source.input[0] not in self._half:
            ports = HalfPorts()
        node = self._reading(source, ports)
        node.name = name
        for position in ports.outputs:
            self._half.add(source.output[position])
            node.output[position] = _half_name(source.output[position])
        self._nodes.append(node)

    def finish(self) -> onnx.ModelProto:
        if CORE_OUTPUT in self._half:
            self._cast(_half_name(CORE_OUTPUT), CORE_OUTPUT, TensorProto.FLOAT)
        return model_of(self._graph.model, self._nodes, self._stored.values())

    def _reading(self, source: NodeProto, ports: HalfPorts) -> NodeProto:
        """Copy a node that reads each of its inputs in the type that it needs."""
        node = deepcopy(source)
        for position, name in enumerate(source.input):
            if self._graph.is_float(name):
                node.input[position] = self._read(name, position in ports.inputs)
            elif name in self._graph.initializers:  # of another type, such as a shape
                self._stored[name] = self._graph.initializers[name]
        return node

    def _read(self, name: str, as_half: bool) -> str:
        """The name under which a node reads a float tensor in the type that it needs."""
        if self._graph.is_weight(name):
            return self._weight(name, as_half)
        maker = self._graph.makers.get(name)
        if maker is not None and maker.op_type == "DequantizeLinear":
            return self._dequantised(maker, as_half)
        is_half = name in self._half
        source = _half_name(name) if is_half else name
        if is_half == as_half:
            return source
        target = f"{name}.{'half' if as_half else 'float'}"
        if target not in self._made:
            self._made.add(target)
            self._cast(source, target, TensorProto.FLOAT16 if as_half else TensorProto.FLOAT)
        return target

    def _dequantised(self, source: NodeProto, as_half: bool) -> str:
        """A dequantiser's output; with a cast behind it, the product would no longer be int8."""
        (output,) = source.output
        target = output if as_half else f"{output}.float32"
        if target not in self._made:
            self._made.add(target)
            node = self._reading(source, HalfPorts(frozenset({1} if as_half else ())))
            node.output[0] = target
            node.name += "" if as_half else ".float"
            self._nodes.append(node)
        return target

    def _weight(self, name: str, as_half: bool) -> str:
        tensor = self._graph.initializers[name]
        if not as_half:
            self._stored[name] = tensor
            return name
        stored = f"{name}.half"
        if stored not in self._stored:
            with np.errstate(over="ignore"):
                values = numpy_helper.to_array(tensor).astype(np.float16)
            self._stored[stored] = numpy_helper.from_array(values, stored)
        return stored

    def _cast(self, source: str, target: str, to: int) -> None:
        self._nodes.append(helper.make_node("Cast", [source], [target], f"{target}.cast", to=to))


def _half_name(name: str) -> str:
    """The name of a tensor in float16; the core's output keeps its own name for float32."""
    return f"{name}.half" if name == CORE_OUTPUT else name


def _check(node: NodeProto, types: dict[str, str]) -> None:
    if node.domain not in _DEFAULT_DOMAINS:
        raise ArtifactError(
            f"{node.op_type} of {node.domain} has no known float16 form; export the core with "
            "operators of ONNX itself"
        )
    if any(a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for a in node.attribute):
        raise ArtifactError(
            f"{node.op_type} {node.name} holds a graph of its own; half precision takes "
            "networks without control flow"
        )
    if unknown := [name for name in node.output if name and name not in types]:
        raise ArtifactError(f"the type of {unknown[0]} does not follow from the core's inputs")
