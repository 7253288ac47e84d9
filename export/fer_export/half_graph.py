"""A float32 core rewritten in float16, with casts around the nodes that stay in float32.

What can be float16 follows from ONNX's operator schemas. Every change of type is a ``Cast`` node,
as TensorRT's strongly typed networks require.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx
from onnx import AttributeProto, NodeProto, TensorProto, helper, inliner, numpy_helper

from fer_calib.layers import CORE_OUTPUT
from fer_calib.onnx_graph import header, model_of, outline
from fer_edge.errors import ArtifactError

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

    ``header`` is the core without nodes and initializers. ``tensors`` are the core's own
    initializers, not copies. ``types`` and ``ranks`` are by tensor, ``nodes`` and ``ports`` by
    node; every node that has a float16 form has ports.
    """

    header: onnx.ModelProto
    nodes: Mapping[str, NodeProto]
    tensors: Mapping[str, TensorProto]
    types: Mapping[str, int]
    ranks: Mapping[str, int]
    ports: Mapping[str, HalfPorts]

    def is_weight(self, name: str) -> bool:
        """Whether a tensor is a float32 initializer."""
        return name in self.tensors and self.tensors[name].data_type == _FLOAT

    def array(self, name: str) -> npt.NDArray[np.float32]:
        """Read an initializer."""
        return numpy_helper.to_array(self.tensors[name])


def prepare(core: onnx.ModelProto) -> FloatGraph:
    """Make a core ready for half precision; ``core`` stays as it is.

    Raises ArtifactError for what cannot be rewritten: control flow, operators outside ONNX, or
    types that cannot be inferred.
    """
    core = inliner.inline_local_functions(core) if core.functions else core
    nodes, constants = _without_constants(core.graph)
    tensors = {tensor.name: tensor for tensor in (*core.graph.initializer, *constants)}
    for node in nodes.values():
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
    types, ranks = _infer(model_of(core, nodes.values(), tensors.values()))
    version = next(o.version for o in core.opset_import if o.domain in _DEFAULT_DOMAINS)
    ports = {name: _half_ports(node, version, types) for name, node in nodes.items()}
    usable = {name: found for name, found in ports.items() if found.inputs}
    return FloatGraph(header(core), nodes, tensors, types, ranks, usable)


def to_half_graph(graph: FloatGraph, in_float: Collection[str]) -> onnx.ModelProto:
    """Rewrite all nodes that can be in float16, except those named in ``in_float``.

    The core's input and output stay float32. A weight that both kinds of node use is stored twice.
    """
    rewriting = _Rewriting(graph)
    for name, node in graph.nodes.items():
        ports = HalfPorts() if name in in_float else graph.ports.get(name, HalfPorts())
        rewriting.add(node, ports)
    return rewriting.finish()


def emulate(half: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
    """Make a float32 model that gives what float16 would, and list the tensors that it rounds.

    An engine without float16 arithmetic runs a float16 graph in float32 and drops the casts, so
    nothing overflows there. Here each float16 tensor of ``half`` is rounded, and what exceeds
    float16 becomes Inf. Inside a node it computes in float32. Tensors keep their names. Run it
    without graph optimisations, which could drop the casts.
    """
    types, _ = _infer(half)
    weights = [tensor.name for tensor in half.graph.initializer if tensor.data_type == _HALF]
    nodes = [helper.make_node("Cast", [name], [f"{name}.f32"], to=_FLOAT) for name in weights]
    rounded = []
    for source in half.graph.node:
        node = NodeProto()
        node.CopyFrom(source)
        nodes.append(node)
        for position, name in enumerate(source.input):
            if name in weights:
                node.input[position] = f"{name}.f32"
        for position, name in enumerate(source.output):
            if types.get(name) == _HALF:
                node.output[position] = f"{name}.exact"
                nodes.append(helper.make_node("Cast", [f"{name}.exact"], [f"{name}.f16"], to=_HALF))
                nodes.append(helper.make_node("Cast", [f"{name}.f16"], [name], to=_FLOAT))
                rounded.append(name)
    return model_of(half, nodes, half.graph.initializer), rounded


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
            elif name in self.graph.tensors:  # of another type, such as a shape
                self.stored[name] = self.graph.tensors[name]
        for position, name in enumerate(source.output):
            if position in ports.outputs:
                self.half.add(name)
                node.output[position] = _core_name(name)
        self.nodes.append(node)

    def finish(self) -> onnx.ModelProto:
        if CORE_OUTPUT in self.half:
            self.nodes.append(_cast(_core_name(CORE_OUTPUT), CORE_OUTPUT, _FLOAT))
        return model_of(self.graph.header, self.nodes, self.stored.values())

    def _read(self, name: str, as_half: bool) -> str:
        """The name under which a node reads a float tensor in the type that it needs."""
        if self.graph.is_weight(name):
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
        if not as_half:
            self.stored[name] = self.graph.tensors[name]
            return name
        stored_name = f"{name}.half"
        if stored_name not in self.stored:
            with np.errstate(over="ignore"):
                values = self.graph.array(name).astype(np.float16)
            self.stored[stored_name] = numpy_helper.from_array(values, stored_name)
        return stored_name


def _core_name(name: str) -> str:
    """The name of a tensor in float16; the core's output keeps its own name for float32."""
    return f"{name}.half" if name == CORE_OUTPUT else name


def _cast(source: str, target: str, to: int) -> NodeProto:
    return helper.make_node("Cast", [source], [target], f"{target}.cast", to=to)


def _half_ports(node: NodeProto, version: int, types: Mapping[str, int]) -> HalfPorts:
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
    light = outline(model)
    try:
        inferred = onnx.shape_inference.infer_shapes(light, check_type=True, strict_mode=True)
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


def _without_constants(graph: onnx.GraphProto) -> tuple[dict[str, NodeProto], list[TensorProto]]:
    """Copies of the nodes under unique names, and ``Constant`` nodes as tensors."""
    nodes: dict[str, NodeProto] = {}
    constants = []
    for number, source in enumerate(graph.node):
        if source.op_type == "Constant":
            constants.append(_tensor_of(source))
            continue
        node = NodeProto()
        node.CopyFrom(source)
        if not node.name or node.name in nodes:
            node.name = f"{node.op_type}_{number}"
        nodes[node.name] = node
    return nodes, constants


def _tensor_of(node: NodeProto) -> TensorProto:
    (attribute,) = node.attribute
    value = helper.get_attribute_value(attribute)
    if attribute.name == "value":
        array = numpy_helper.to_array(value)
    elif attribute.name in ("value_float", "value_floats"):
        array = np.array(value, np.float32)
    elif attribute.name in ("value_int", "value_ints"):
        array = np.array(value, np.int64)
    else:
        raise ArtifactError(f"the constant {node.output[0]} is a {attribute.name}, not a number")
    return numpy_helper.from_array(array, node.output[0])
