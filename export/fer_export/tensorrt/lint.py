"""Find in an ONNX what TensorRT would refuse, before it reaches the device.

``RULES`` has a small function for each rule. ``make nvidia`` shows that NVIDIA's own parser or
builder refuses what a rule finds, and accepts the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import onnx

from fer_calib.onnx_graph import OnnxGraph
from fer_edge.errors import GateError
from fer_export.tensorrt.operators import CONSTANT_INPUTS, OPERATORS

_FLOATS = ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE")
_OWN_DOMAINS = ("", "ai.onnx")
_QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")
_FREE_OF_MIXING = {"Cast", "Resize", "Upsample", "If", "Loop", "Scan", "BatchNormalization"}
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
    """What TensorRT would refuse, by every rule."""
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


def _scales(view: OnnxGraph) -> _Found:
    for node in _quantizers(view):
        values = view.values(_given(node, 1))
        if values is not None and not np.all(values.astype(np.float64) > 0):
            yield _name(node), "its scale is not above 0 everywhere"


def _uint8(view: OnnxGraph) -> _Found:
    names = [name for name, kind in view.types.items() if kind == "UINT8"]
    for name in names:
        for user in view.readers.get(name, []):
            if user.op_type not in ("Cast", *_QUANTIZERS):
                yield _name(user), f"it takes {name} as uint8, which TensorRT can only Cast"


def _operators(view: OnnxGraph) -> _Found:
    for node in view.nodes:
        if node.domain not in _OWN_DOMAINS:
            yield _name(node), f"{node.domain}.{node.op_type} is an operator that TensorRT lacks"
        elif node.op_type not in OPERATORS:
            yield _name(node), f"{node.op_type} is an operator that TensorRT's parser lacks"


def _mixed_floats(view: OnnxGraph) -> _Found:
    for node in view.nodes:
        kinds = {view.types.get(name) for name in node.input} & {*_FLOATS}
        if len(kinds) > 1 and node.op_type not in _FREE_OF_MIXING:
            types = " and ".join(sorted(str(kind) for kind in kinds))
            yield _name(node), f"it takes {types}; a strongly typed network needs a Cast between"


def _external_data(view: OnnxGraph) -> _Found:
    for name, tensor in view.stored.items():
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            yield name, "its values are not in the file; save the model as one file"


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


def _constant_inputs(view: OnnxGraph) -> _Found:
    for node in view.nodes:
        for index in CONSTANT_INPUTS.get(node.op_type, ()):
            name = _given(node, index)
            if name and not view.constant(name):
                yield _name(node), f"its input {name} must be known when the engine is built"


RULES: dict[str, Callable[[OnnxGraph], _Found]] = {
    "zero-point": _zero_points,
    "scale": _scales,
    "uint8": _uint8,
    "operator": _operators,
    "mixed-floats": _mixed_floats,
    "external-data": _external_data,
    "type": _types,
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
