"""An ONNX model as the lint looks at it: who makes and uses a tensor, its type and its values."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import numpy.typing as npt
import onnx
from onnx import inliner, numpy_helper, shape_inference

__all__ = ["GraphView"]

_ANY_VERSION = 18


class GraphView:
    """A model with its local functions inlined and its types inferred.

    ``imports`` are the opsets as the file has them, ``domains`` those that nodes are of; ONNX's
    own domain is the empty name.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.imports = [(_domain(entry.domain), entry.version) for entry in model.opset_import]
        functions = {_domain(function.domain) for function in model.functions}
        if functions:
            model = inliner.inline_local_functions(model)
        self.graph = shape_inference.infer_shapes(_with_all_imports(model)).graph
        self.nodes = list(_nodes(self.graph))
        self.domains = functions | {_domain(node.domain) for node in self.nodes}

    @cached_property
    def inputs(self) -> list[onnx.ValueInfoProto]:
        """What a caller has to give; older files list their initializers among the inputs."""
        stored = {tensor.name for tensor in self.graph.initializer}
        return [value for value in self.graph.input if value.name not in stored]

    @cached_property
    def makers(self) -> dict[str, onnx.NodeProto]:
        """The node that makes a tensor."""
        return {name: node for node in self.nodes for name in node.output if name}

    @cached_property
    def users(self) -> dict[str, list[onnx.NodeProto]]:
        """The nodes that take a tensor."""
        found: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                found.setdefault(name, []).append(node)
        return found

    @cached_property
    def stored(self) -> dict[str, onnx.TensorProto]:
        """Tensors whose values are in the file: initializers and what ``Constant`` gives."""
        found = {tensor.name: tensor for tensor in self.graph.initializer}
        for node in self.nodes:
            values = [item.t for item in node.attribute if item.name == "value"]
            if node.op_type == "Constant" and values:
                found[node.output[0]] = values[0]
        return found

    @cached_property
    def types(self) -> dict[str, str]:
        """ONNX's name of each tensor's type, where it is known."""
        graph = self.graph
        values = (*graph.input, *graph.output, *graph.value_info)
        found = {value.name: value.type.tensor_type.elem_type for value in values}
        found |= {name: tensor.data_type for name, tensor in self.stored.items()}
        return {name: onnx.TensorProto.DataType.Name(kind) for name, kind in found.items() if kind}

    def values(self, name: str) -> npt.NDArray[np.generic] | None:
        """The values of a stored tensor; None for others and for those outside the file."""
        tensor = self.stored.get(name)
        if tensor is None or tensor.data_location == onnx.TensorProto.EXTERNAL:
            return None
        return numpy_helper.to_array(tensor)

    def constant(self, name: str) -> bool:
        """Whether a tensor is known when the engine is built."""
        if name in self.stored:
            return True
        maker = self.makers.get(name)
        return maker is not None and all(self.constant(n) for n in maker.input if n)

    def given(self, node: onnx.NodeProto, index: int) -> str:
        """Name of a node's input, empty where it is left out."""
        return node.input[index] if index < len(node.input) else ""


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _with_all_imports(model: onnx.ModelProto) -> onnx.ModelProto:
    """Import what is used and not imported: type inference would stop at it."""
    complete = onnx.ModelProto()
    complete.CopyFrom(model)
    imported = {_domain(entry.domain) for entry in model.opset_import}
    for domain in {_domain(node.domain) for node in _nodes(model.graph)} - imported:
        complete.opset_import.add(domain=domain, version=_ANY_VERSION)
    return complete


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """All nodes, those of inner graphs included."""
    for node in graph.node:
        yield node
        for item in node.attribute:
            for inner in (item.g, *item.graphs):
                yield from _nodes(inner)
