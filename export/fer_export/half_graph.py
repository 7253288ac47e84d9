"""A float32 core rewritten in float16, with casts around the nodes that stay in float32.

What may be float16 is read from ONNX's own operator schemas. The result is strongly typed: every
change of type is a ``Cast`` node, as TensorRT's strongly typed networks demand.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx
from onnx import AttributeProto, NodeProto, TensorProto, helper, inliner, numpy_helper

from fer_edge.errors import ArtifactError
from fer_export.contract import CORE_OUTPUT

__all__ = ["Emulation", "FloatGraph", "HalfPorts", "emulate", "prepare", "to_half_graph"]

_FLOAT, _HALF = TensorProto.FLOAT, TensorProto.FLOAT16
_DEFAULT_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True)
class HalfPorts:
    """Positions of a node's float32 inputs and outputs that can be float16."""

    inputs: frozenset[int] = frozenset()
    outputs: frozenset[int] = frozenset()


@dataclass(frozen=True, eq=False)
class FloatGraph:
    """A core made ready: constants are initializers, nodes have unique names, types are known.

    ``types`` and ``ranks`` are by tensor; ``ports`` by node, for every node that has a float16
    form.
    """

    model: onnx.ModelProto
    types: dict[str, int]
    ranks: dict[str, int]
    weights: dict[str, npt.NDArray[np.float32]]
    ports: dict[str, HalfPorts]

    @property
    def nodes(self) -> dict[str, NodeProto]:
        """Nodes by name, in the order of the graph."""
        return {node.name: node for node in self.model.graph.node}


@dataclass(frozen=True, eq=False)
class Emulation:
    """A float32 model that gives what float16 would give, and the tensors that it rounds."""

    model: onnx.ModelProto
    rounded: tuple[str, ...]


def prepare(core: onnx.ModelProto) -> FloatGraph:
    """Make a core ready for half precision; ``core`` stays as it is.

    Raises ArtifactError for what cannot be rewritten: control flow, operators outside ONNX, or a
    graph whose types do not follow from its inputs.
    """
    model = onnx.ModelProto()
    model.CopyFrom(inliner.inline_local_functions(core) if core.functions else core)
    _lift_constants(model.graph)
    _name_nodes(model.graph)
    for node in model.graph.node:
        if node.domain not in _DEFAULT_DOMAINS:
            raise ArtifactError(
                f"{node.op_type} of {node.domain} has no float16 form that is known; export the "
                "core with operators of ONNX itself"
            )
        if any(a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for a in node.attribute):
            raise ArtifactError(
                f"{node.op_type} {node.name} holds a graph of its own; half precision takes "
                "networks without control flow"
            )
    types, ranks = _infer(model)
    weights = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if tensor.data_type == _FLOAT
    }
    version = next(o.version for o in model.opset_import if o.domain in _DEFAULT_DOMAINS)
    ports = {node.name: _half_ports(node, version, types) for node in model.graph.node}
    return FloatGraph(
        model, types, ranks, weights, {name: found for name, found in ports.items() if found.inputs}
    )


def to_half_graph(graph: FloatGraph, islands: Collection[str]) -> onnx.ModelProto:
    """Rewrite all nodes that can be in float16, but for those named in ``islands``.

    The core's input and output stay float32. A weight that both kinds of node use is stored twice.
    """
    rewriting = _Rewriting(graph)
    for node in graph.model.graph.node:
        in_float = node.name in islands
        rewriting.add(node, HalfPorts() if in_float else graph.ports.get(node.name, HalfPorts()))
    return rewriting.finish()


def emulate(half: onnx.ModelProto) -> Emulation:
    """Make a float32 model that rounds wherever ``half`` would hold a float16 tensor.

    An engine without float16 arithmetic runs a float16 graph in float32 and drops the casts in
    between, so that nothing overflows. Here every rounding is kept, and what exceeds float16
    becomes Inf. Inside a node it computes in float32. Tensors keep their names.
    """
    types, _ = _infer(half)
    model = onnx.ModelProto()
    model.CopyFrom(half)
    for tensor in model.graph.initializer:
        if tensor.data_type == _HALF:
            values = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    nodes, rounded = [], []
    for node in model.graph.node:
        nodes.append(node)
        for position, name in enumerate(node.output):
            if types.get(name) == _HALF:
                node.output[position] = f"{name}.exact"
                nodes.append(helper.make_node("Cast", [f"{name}.exact"], [f"{name}.f16"], to=_HALF))
                nodes.append(helper.make_node("Cast", [f"{name}.f16"], [name], to=_FLOAT))
                rounded.append(name)
    del model.graph.value_info[:]
    _replace_nodes(model.graph, nodes)
    return Emulation(model, tuple(rounded))


@dataclass
class _Rewriting:
    graph: FloatGraph
    half: set[str] = field(default_factory=set)
    nodes: list[NodeProto] = field(default_factory=list)
    stored: dict[str, TensorProto] = field(default_factory=dict)
    casts: set[str] = field(default_factory=set)

    def add(self, source: NodeProto, ports: HalfPorts) -> None:
        node = NodeProto()
        node.CopyFrom(source)
        for position, name in enumerate(source.input):
            if self.graph.types.get(name) == _FLOAT:
                node.input[position] = self._read(name, position in ports.inputs)
            elif name in self.graph.types:
                self._keep(name)
        for position, name in enumerate(source.output):
            if position in ports.outputs:
                self.half.add(name)
                node.output[position] = _core_name(name)
        self.nodes.append(node)

    def finish(self) -> onnx.ModelProto:
        model = onnx.ModelProto()
        model.CopyFrom(self.graph.model)
        if CORE_OUTPUT in self.half:
            inner = _core_name(CORE_OUTPUT)
            self.nodes.append(_cast(inner, CORE_OUTPUT, _FLOAT))
        _replace_nodes(model.graph, self.nodes)
        del model.graph.value_info[:], model.graph.initializer[:]
        model.graph.initializer.extend(self.stored.values())
        return model

    def _read(self, name: str, as_half: bool) -> str:
        """Name under which a node reads a float tensor in the type that it wants."""
        if name in self.graph.weights:
            return self._weight(name, as_half)
        is_half = name in self.half
        source = _core_name(name) if is_half else name
        if is_half == as_half:
            return source
        target = f"{name}.{'half' if as_half else 'float'}"
        if target not in self.casts:
            self.casts.add(target)
            self.nodes.append(_cast(source, target, _HALF if as_half else _FLOAT))
        return target

    def _weight(self, name: str, as_half: bool) -> str:
        stored_name = f"{name}.half" if as_half else name
        if stored_name not in self.stored:
            with np.errstate(over="ignore"):
                values = self.graph.weights[name].astype(np.float16 if as_half else np.float32)
            self.stored[stored_name] = numpy_helper.from_array(values, stored_name)
        return stored_name

    def _keep(self, name: str) -> None:
        """Keep an initializer of another type, such as a shape."""
        for tensor in self.graph.model.graph.initializer:
            if tensor.name == name:
                self.stored[name] = tensor


def _core_name(name: str) -> str:
    """The core's output is float32, whatever computes it: in float16 it has an inner name."""
    return f"{name}.half" if name == CORE_OUTPUT else name


def _cast(source: str, target: str, to: int) -> NodeProto:
    return helper.make_node("Cast", [source], [target], f"{target}.cast", to=to)


def _replace_nodes(graph: onnx.GraphProto, nodes: list[NodeProto]) -> None:
    copies = []
    for node in nodes:
        copies.append(NodeProto())
        copies[-1].CopyFrom(node)
    del graph.node[:]
    graph.node.extend(copies)


def _half_ports(node: NodeProto, version: int, types: dict[str, int]) -> HalfPorts:
    """Inputs whose type variable admits float16, and the outputs bound to the same variables.

    What has a fixed type, such as the scales of Resize, stays as it is.
    """
    schema = onnx.defs.get_schema(node.op_type, version, "")
    admits = {
        constraint.type_param_str
        for constraint in schema.type_constraints
        if "tensor(float16)" in constraint.allowed_type_strs
    }

    def variable(position: int, formal: list[onnx.defs.OpSchema.FormalParameter]) -> str:
        return formal[min(position, len(formal) - 1)].type_str  # the last may be repeated

    inputs = frozenset(
        position
        for position, name in enumerate(node.input)
        if types.get(name) == _FLOAT and variable(position, list(schema.inputs)) in admits
    )
    bound = {variable(position, list(schema.inputs)) for position in inputs}
    outputs = frozenset(
        position
        for position, name in enumerate(node.output)
        if types.get(name) == _FLOAT and variable(position, list(schema.outputs)) in bound
    )
    return HalfPorts(inputs, outputs)


def _infer(model: onnx.ModelProto) -> tuple[dict[str, int], dict[str, int]]:
    """Element type and rank of every tensor, by name."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    except onnx.shape_inference.InferenceError as problem:
        raise ArtifactError(f"the core's types do not fit together: {problem}") from problem
    graph = inferred.graph
    types, ranks = {}, {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        types[value.name] = value.type.tensor_type.elem_type
        ranks[value.name] = len(value.type.tensor_type.shape.dim)
    for tensor in graph.initializer:
        types[tensor.name], ranks[tensor.name] = tensor.data_type, len(tensor.dims)
    missing = [name for node in graph.node for name in node.output if name and name not in types]
    if missing:
        raise ArtifactError(f"the type of {missing[0]} does not follow from the core's inputs")
    return types, ranks


def _lift_constants(graph: onnx.GraphProto) -> None:
    """Turn Constant nodes into initializers."""
    kept = []
    for node in graph.node:
        if node.op_type != "Constant":
            kept.append(node)
            continue
        (attribute,) = node.attribute
        value = helper.get_attribute_value(attribute)
        if attribute.name == "value":
            array = numpy_helper.to_array(value)
        elif attribute.name in ("value_float", "value_floats"):
            array = np.array(value, np.float32)
        elif attribute.name in ("value_int", "value_ints"):
            array = np.array(value, np.int64)
        else:
            raise ArtifactError(f"the constant {node.output[0]} is a {attribute.name}, no number")
        graph.initializer.append(numpy_helper.from_array(array, node.output[0]))
    _replace_nodes(graph, kept)


def _name_nodes(graph: onnx.GraphProto) -> None:
    taken: set[str] = set()
    for number, node in enumerate(graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{number}"
        taken.add(node.name)
