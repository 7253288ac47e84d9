"""An index over an ONNX model, and copies of models without their large weights.

A full copy takes as much memory as the file, and checks and shape inference do not need weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, inliner, numpy_helper, shape_inference

_ANY_VERSION = 18
_LARGE = 1024
_WEIGHTS, _PAGE = "weights.bin", 4096


class OnnxGraph:
    """A model with its local functions inlined; the model that was given is not changed.

    ``nodes`` includes those of inner graphs.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = inliner.inline_local_functions(model) if model.functions else model
        self.nodes = list(_nodes(self.model.graph))

    @cached_property
    def makers(self) -> dict[str, onnx.NodeProto]:
        """The node that makes a tensor."""
        return {name: node for node in self.nodes for name in node.output if name}

    @cached_property
    def readers(self) -> dict[str, list[onnx.NodeProto]]:
        """The nodes that read a tensor, each once."""
        found: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.input):
                found.setdefault(name, []).append(node)
        return found

    @cached_property
    def initializers(self) -> dict[str, onnx.TensorProto]:
        """Stored tensors by name."""
        return {tensor.name: tensor for tensor in self.model.graph.initializer}

    @cached_property
    def stored(self) -> dict[str, onnx.TensorProto]:
        """Tensors whose values are in the file: initializers and outputs of ``Constant``."""
        found = dict(self.initializers)
        for node in self.nodes:
            values = [item.t for item in node.attribute if item.name == "value"]
            if node.op_type == "Constant" and values:
                found[node.output[0]] = values[0]
        return found

    @cached_property
    def types(self) -> dict[str, str]:
        """ONNX's name of each tensor's type, such as ``FLOAT``, where it is known."""
        described = (*self._inferred.input, *self._inferred.output, *self._inferred.value_info)
        found = {value.name: value.type.tensor_type.elem_type for value in described}
        found |= {name: tensor.data_type for name, tensor in self.stored.items()}
        return {name: TensorProto.DataType.Name(kind) for name, kind in found.items() if kind}

    @cached_property
    def _inferred(self) -> onnx.GraphProto:
        light = outline(self.model)
        imported = {_domain(entry.domain) for entry in light.opset_import}
        for domain in {_domain(node.domain) for node in self.nodes} - imported:
            # inference stops at an operator whose domain is not imported
            light.opset_import.add(domain=domain, version=_ANY_VERSION)
        return shape_inference.infer_shapes(light).graph

    def values(self, name: str) -> npt.NDArray[Any] | None:
        """The values of a stored tensor; None for others and for those outside the file."""
        tensor = self.stored.get(name)
        if tensor is None or tensor.data_location == TensorProto.EXTERNAL:
            return None
        return numpy_helper.to_array(tensor)

    def array(self, name: str) -> npt.NDArray[np.float32]:
        """Read an initializer as float32."""
        return np.asarray(numpy_helper.to_array(self.initializers[name]), np.float32)

    def constant(self, name: str) -> bool:
        """Whether a tensor's value is known before the model runs."""
        if name in self.stored:
            return True
        maker = self.makers.get(name)
        return maker is not None and all(self.constant(n) for n in maker.input if n)


def header(model: onnx.ModelProto) -> onnx.ModelProto:
    """Copy a model without its nodes, initializers and inferred types."""
    copied = onnx.ModelProto()
    _merge(model, copied, {"graph"})
    _merge(model.graph, copied.graph, {"node", "initializer", "value_info"})
    return copied


def model_of(
    source: onnx.ModelProto,
    nodes: Iterable[onnx.NodeProto],
    tensors: Iterable[onnx.TensorProto],
    outputs: Iterable[str] = (),
) -> onnx.ModelProto:
    """Make a model like ``source`` with other nodes and initializers.

    ``outputs`` names tensors to use as outputs instead of those of ``source``.
    """
    made = header(source)
    made.graph.node.extend(nodes)
    made.graph.initializer.extend(tensors)
    if names := list(outputs):
        del made.graph.output[:]
        for name in names:
            made.graph.output.add().name = name
    return made


def outline(model: onnx.ModelProto) -> onnx.ModelProto:
    """Copy a model, with inputs of the same type and shape in place of large weights."""
    light = header(model)
    light.graph.node.extend(model.graph.node)
    given = {value.name for value in light.graph.input}
    for tensor in model.graph.initializer:
        if np.prod(tensor.dims) < _LARGE:
            light.graph.initializer.append(tensor)
        elif tensor.name not in given:
            described = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            light.graph.input.append(described)
    return light


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write a model to one file, tensor by tensor: ``onnx.save`` needs the memory several times.

    The file is one ``ModelProto``: its field 7 is the graph, whose field 5 holds the initializers.
    """
    rest, graph = onnx.ModelProto(), onnx.GraphProto()
    _merge(model, rest, {"graph"})
    _merge(model.graph, graph, {"initializer"})
    start = graph.SerializeToString()
    tensors = model.graph.initializer
    sizes = [tensor.ByteSize() for tensor in tensors]
    total = len(start) + sum(len(_tag(5, size)) + size for size in sizes)
    with path.open("wb") as stream:
        stream.write(rest.SerializeToString())
        stream.write(_tag(7, total))
        stream.write(start)
        for tensor, size in zip(tensors, sizes, strict=True):
            stream.write(_tag(5, size))
            stream.write(tensor.SerializeToString())


def save_apart(model: onnx.ModelProto, folder: Path) -> Path:
    """Write a model into ``folder``, its large weights in a second file; returns its path.

    An engine maps that file into memory instead of copying it. ``model`` stays as it is.
    """
    light = header(model)
    light.graph.node.extend(model.graph.node)
    with (folder / _WEIGHTS).open("wb") as stream:
        for tensor in model.graph.initializer:
            if np.prod(tensor.dims) < _LARGE:
                light.graph.initializer.append(tensor)
                continue
            data = numpy_helper.to_array(tensor).tobytes()
            kept = light.graph.initializer.add(
                name=tensor.name, data_type=tensor.data_type, dims=tensor.dims
            )
            kept.data_location = TensorProto.EXTERNAL
            place = {"location": _WEIGHTS, "offset": stream.tell(), "length": len(data)}
            for key, value in place.items():
                kept.external_data.add(key=key, value=str(value))
            stream.write(data)
            stream.write(bytes(-stream.tell() % _PAGE))
    path = folder / "model.onnx"
    path.write_bytes(light.SerializeToString())
    return path


def check(model: onnx.ModelProto) -> None:
    """Run ONNX's checker with full shape inference; raises its errors."""
    onnx.checker.check_model(outline(model), full_check=True)


def _merge(source: Any, target: Any, without: set[str]) -> None:
    for field, value in source.ListFields():
        if field.name in without:
            continue
        if hasattr(value, "extend"):
            getattr(target, field.name).extend(value)
        elif hasattr(value, "CopyFrom"):
            getattr(target, field.name).CopyFrom(value)
        else:
            setattr(target, field.name, value)


def _tag(field: int, size: int) -> bytes:
    """The bytes in front of an embedded message in protobuf's encoding: its field and its size."""
    encoded = bytearray([field << 3 | 2])
    while size > 0x7F:  # noqa: PLR2004 - seven bits a byte
        encoded.append(size & 0x7F | 0x80)
        size >>= 7
    encoded.append(size)
    return bytes(encoded)


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for item in node.attribute:
            for inner in (item.g, *item.graphs):
                yield from _nodes(inner)
