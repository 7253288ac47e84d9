"""What TensorRT would refuse in an ONNX, found before it reaches the device.

Each rule is a small function from a graph to findings; ``RULES`` names them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import onnx

from fer_calib.onnx_graph import OnnxGraph
from fer_edge.errors import GateError
from fer_export.tensorrt.operators import CONSTANT_INPUTS, OPERATORS, OPSETS

__all__ = ["RULES", "Finding", "check_model", "lint"]

_FLOATS = ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE")
_OWN_DOMAINS = ("", "ai.onnx")
_QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")
_PROFILED = ("crop", 0)
"""The input, and its axis, for which the optimisation profile has a range."""
_FREE_OF_MIXING = {"Cast", "Resize", "Upsample", "If", "Loop", "Scan"}
"""Operators whose inputs of different float types have different meanings."""
_SHOWN = 8


@dataclass(frozen=True)
class Finding:
    """One thing that TensorRT would refuse: the rule, where, and what to do."""

    rule: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message} [{self.rule}]"


_Found = Iterator[tuple[str, str]]


def lint(model: onnx.ModelProto) -> tuple[Finding, ...]:
    """Apply every rule; an empty answer is a clean model."""
    view = OnnxGraph(model)
    return tuple(
        Finding(rule, where, message)
        for rule, check in RULES.items()
        for where, message in check(view)
    )


def check_model(model: onnx.ModelProto, where: str) -> None:
    """Raise GateError with all that TensorRT would refuse; ``where`` names the model."""
    found = lint(model)
    if found:
        shown = "; ".join(map(str, found[:_SHOWN]))
        more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise GateError(f"TensorRT would refuse {where}: {shown}{more}")


def _zero_points(view: OnnxGraph) -> _Found:
    for node in _quantizers(view):
        values = view.values(_given(node, 2))
        if values is not None and np.any(values):
            yield _name(node), "its zero-point is not 0; quantise symmetrically"


def _uint8_quantizers(view: OnnxGraph) -> _Found:
    for node in _quantizers(view):
        point = _given(node, 2)
        # ONNX: a QuantizeLinear without zero-point makes uint8
        implied = "UINT8" if node.op_type == "QuantizeLinear" else view.types.get(node.input[0])
        if (view.types.get(point) if point else implied) == "UINT8":
            yield _name(node), "it quantises to uint8; TensorRT has int8 alone, with zero-point 0"


def _scales(view: OnnxGraph) -> _Found:
    for node in _quantizers(view):
        values = view.values(_given(node, 1))
        if values is not None and not np.all(values.astype(np.float64) > 0):
            yield _name(node), "its scale is not above 0 everywhere"


def _activation_scales(view: OnnxGraph) -> _Found:
    for node in view.nodes:
        if node.op_type == "QuantizeLinear" and not view.constant(node.input[0]):
            values = view.values(node.input[1])
            if values is not None and values.size > 1:
                yield (
                    _name(node),
                    f"it has {values.size} scales for an activation; TensorRT takes one",
                )


def _uint8(view: OnnxGraph) -> _Found:
    names = [name for name, kind in view.types.items() if kind == "UINT8"]
    for name in names:
        for user in view.readers.get(name, []):
            if user.op_type not in ("Cast", *_QUANTIZERS):
                yield _name(user), f"it takes {name} as uint8, which TensorRT can only Cast"


def _pairs(view: OnnxGraph) -> _Found:
    outputs = {value.name for value in view.model.graph.output}
    for node in view.nodes:
        if node.op_type == "QuantizeLinear":
            users = view.readers.get(node.output[0], [])
            alone = not users or any(user.op_type != "DequantizeLinear" for user in users)
            if alone or node.output[0] in outputs:
                yield _name(node), "what it quantises is not dequantised at once; pair Q with DQ"
        if node.op_type == "DequantizeLinear":
            maker = view.makers.get(node.input[0])
            paired = maker is not None and maker.op_type == "QuantizeLinear"
            if not paired and not view.constant(node.input[0]):
                yield _name(node), "what it dequantises was not quantised; pair DQ with Q"


def _operators(view: OnnxGraph) -> _Found:
    for node in view.nodes:
        if node.domain not in _OWN_DOMAINS:
            yield _name(node), f"{node.domain}.{node.op_type} is an operator that TensorRT lacks"
        elif node.op_type not in OPERATORS:
            yield _name(node), f"{node.op_type} is an operator that TensorRT's parser lacks"


def _opsets(view: OnnxGraph) -> _Found:
    counts = Counter(domain for domain, _ in view.imports)
    for domain in counts.keys() | view.domains:
        name, count = domain or "ai.onnx", counts[domain]
        if count != 1 and domain in view.domains:
            yield "opset_import", f"{name} is imported {count} times"
        if domain not in view.domains:
            yield "opset_import", f"{name} is imported, and no node is of it"
    for domain, version in view.imports:
        if domain == "" and version not in OPSETS:
            yield (
                "opset_import",
                f"opset {version} is outside {OPSETS[0]} to {OPSETS[-1]}, what TensorRT 10.3 reads",
            )


def _dynamic_shapes(view: OnnxGraph) -> _Found:
    for value in view.inputs:
        for axis, size in enumerate(value.type.tensor_type.shape.dim):
            dynamic = not size.HasField("dim_value")
            if dynamic and (value.name, axis) != _PROFILED:
                yield (
                    value.name,
                    f"axis {axis} is dynamic, and the profile has a range for the batch alone",
                )


def _mixed_floats(view: OnnxGraph) -> _Found:
    for node in view.nodes:
        kinds = {view.types.get(name) for name in node.input} & {*_FLOATS}
        if len(kinds) > 1 and node.op_type not in _FREE_OF_MIXING:
            told = " and ".join(sorted(str(kind) for kind in kinds))
            yield _name(node), f"it takes {told}; a strongly typed network needs a Cast between"


def _external_data(view: OnnxGraph) -> _Found:
    for name, tensor in view.stored.items():
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            yield name, "its values lie outside the file; save the model as one file"


def _types(view: OnnxGraph) -> _Found:
    for node in view.nodes:
        taken = OPERATORS.get(node.op_type)
        if taken is None or not node.input:
            continue
        data = 1 if node.op_type == "Where" else 0
        kind = view.types.get(node.input[data])
        # uint8 has rules of its own
        if kind is not None and kind != "UINT8" and kind not in taken:
            yield _name(node), f"{node.op_type} takes {', '.join(sorted(taken))}, not {kind}"


def _unknown_types(view: OnnxGraph) -> _Found:
    for node in view.nodes:
        unknown = [name for name in node.output if name and name not in view.types]
        if unknown and node.op_type in OPERATORS:
            yield _name(node), f"the type of {unknown[0]} cannot be inferred, so it is not checked"


def _constant_inputs(view: OnnxGraph) -> _Found:
    for node in view.nodes:
        for index in CONSTANT_INPUTS.get(node.op_type, ()):
            name = _given(node, index)
            if name and not view.constant(name):
                yield _name(node), f"its input {name} must be known when the engine is built"


RULES: dict[str, Callable[[OnnxGraph], _Found]] = {
    "zero-point": _zero_points,
    "uint8-quantizer": _uint8_quantizers,
    "scale": _scales,
    "activation-scale": _activation_scales,
    "uint8": _uint8,
    "pair": _pairs,
    "operator": _operators,
    "opset": _opsets,
    "dynamic-shape": _dynamic_shapes,
    "mixed-floats": _mixed_floats,
    "external-data": _external_data,
    "type": _types,
    "unknown-type": _unknown_types,
    "constant-input": _constant_inputs,
}
"""Every rule by name."""


def _quantizers(view: OnnxGraph) -> Iterator[onnx.NodeProto]:
    return (node for node in view.nodes if node.op_type in _QUANTIZERS)


def _given(node: onnx.NodeProto, index: int) -> str:
    """Name of a node's input, empty where it is left out."""
    return node.input[index] if index < len(node.input) else ""


def _name(node: onnx.NodeProto) -> str:
    return node.name or f"{node.op_type} of {', '.join(node.output)}"
