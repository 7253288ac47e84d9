"""What an engine's layers really compute in, according to the engine inspector, and the gate on it.

Each convolution and matrix product of the ONNX is looked up in the engine by its name, so none can
be missed: TensorRT fuses, renames and splits layers, but its metadata keeps ``[ONNX Layer: NAME]``.

The inspector's wording differs between releases: a tensor is ``Row major linear FP16 format``,
``Channel major Int8 format where channel % 4 == 0``, or just ``Half``.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fer_edge.artifacts.plan import PlanLayer
from fer_edge.errors import EngineError, GateError

_TYPES = {
    "fp4": "fp4",
    "int4": "int4",
    "fp8": "fp8",
    "int8": "int8",
    "bfloat16": "bf16",
    "bf16": "bf16",
    "half": "fp16",
    "fp16": "fp16",
    "float": "fp32",
    "fp32": "fp32",
}
"""The inspector's words for what a layer can compute in, the narrowest first."""

_WORD = re.compile(rf"\b({'|'.join(_TYPES)})\b", re.IGNORECASE)
_NARROWEST_FIRST = tuple(dict.fromkeys(_TYPES.values()))
_ONNX_NODE = re.compile(r"\[ONNX Layer: (.*?)\]")

_GENERATED = "kgen"
_PRODUCT = re.compile(r"Fc|Conv(?!e)|Corr|[Gg]emm|[Mm]atm|Dot|mha", re.ASCII)
"""In the name of a generated kernel that multiplies; the others are pointwise or reductions."""

_NO_PRODUCT = frozenset(
    {
        *("Activation", "Cast", "CaskPooling", "Concat", "Concatenation", "Constant"),
        *("Dequantize", "ElementWise", "Gather", "Identity", "NoOp", "Normalization", "PointWise"),
        *("PointWiseV2", "Pooling", "Quantize", "Reduce", "Reformat", "Resize", "Scale", "Select"),
        *("Shape", "Shuffle", "Slice", "SoftMax", "Unary", "shape_call"),
    }
)
"""Kinds of layers that never compute a convolution or a matrix product."""

_SHOWN = 5


@dataclass(frozen=True)
class Kernel:
    """One layer of an engine.

    ``inputs`` and ``weights`` are the types that it reads, ``unknown`` for indices and bools;
    ``nodes`` are the ONNX nodes that it came from. ``multiplies`` says whether it may compute a
    convolution or a matrix product.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    weights: tuple[str, ...]
    nodes: tuple[str, ...]
    multiplies: bool

    @cached_property
    def precision(self) -> str:
        """The narrowest type that it reads."""
        return next((t for t in _NARROWEST_FIRST if t in (*self.inputs, *self.weights)), "unknown")

    def misfit(self, precision: str) -> str | None:
        """Why this kernel does not multiply in ``precision``; None if it does.

        Its weights and at least one input must have that type; another input may be an addend of
        another type. A kernel without weights multiplies activations, which must all have it. For
        fp32 no input may be narrower.
        """
        read = {kind for kind in self.inputs if kind != "unknown"}
        if self.weights:
            holds = precision in read and set(self.weights) == {precision}
        else:
            holds = read == {precision}
        if precision == "fp32":
            holds = holds and read == {"fp32"}
        if holds:
            return None
        findings = [f"reads {', '.join(sorted(read)) or 'no type that is known'}"]
        if self.weights:
            findings.append(f"has weights in {', '.join(sorted(set(self.weights)))}")
        return f"{self.name} ({self.kind}) {' and '.join(findings)}"


def read_kernels(inspection: str) -> tuple[Kernel, ...]:
    """Read the layers from the engine inspector's JSON.

    Raises EngineError if the inspector lists no layers, or no types.
    """
    try:
        entries = json.loads(inspection)["Layers"]
    except (ValueError, KeyError, TypeError) as problem:
        raise EngineError(
            f"the engine inspector gave no list of layers: {inspection[:80]!r}"
        ) from problem
    kernels = tuple(_kernel(entry) for entry in entries if isinstance(entry, dict))
    if all(kernel.precision == "unknown" for kernel in kernels):
        raise EngineError(
            f"the engine inspector names {len(entries)} layers but the type of none, so the "
            "precision of the plan cannot be checked"
        )
    return kernels


def check_kernels(
    kernels: Sequence[Kernel], products: Mapping[str, str], precision: str, plan: str
) -> None:
    """Raise GateError unless every product of the ONNX computes in the type that it asks for.

    ``products`` maps the name of each Conv, Gemm and MatMul node to its type, as the prepared ONNX
    lists them; those that stay in a wider type by design are listed with that type. ``precision``
    is the ONNX's, and at least one product must have it.
    """
    faults = list(_faults(kernels, products))
    if precision not in products.values():
        faults.append(
            f"none of its {len(products)} convolutions and matrix products is {precision}"
        )
    if faults:
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise GateError(
            f"{plan} should compute in {precision}, but: {'; '.join(faults[:_SHOWN])}{more}. "
            "No plan was kept; try another --opt-level or precision, and report this with the "
            "version of TensorRT"
        )


def shares(products: Mapping[str, str]) -> dict[str, float]:
    """Share of the convolutions and matrix products by type, the largest first."""
    counted = Counter(products.values())
    return {kind: count / len(products) for kind, count in counted.most_common()}


def describe(kernels: Sequence[Kernel], products: Mapping[str, str]) -> tuple[PlanLayer, ...]:
    """The layers as the plan's sidecar lists them; ``matrix`` marks those that compute products."""
    return tuple(
        PlanLayer(
            kernel.name,
            kernel.kind,
            kernel.precision,
            matrix=kernel.multiplies and not products.keys().isdisjoint(kernel.nodes),
        )
        for kernel in kernels
    )


def _faults(kernels: Sequence[Kernel], products: Mapping[str, str]) -> Iterator[str]:
    computing: dict[str, list[Kernel]] = {node: [] for node in products}
    for kernel in kernels:
        if kernel.multiplies and kernel.precision != "unknown":
            for node in products.keys() & kernel.nodes:
                computing[node].append(kernel)
    for node, wanted in products.items():
        if not computing[node]:
            yield f"no layer of the engine is known to compute {node}"
        for kernel in computing[node]:
            if misfit := kernel.misfit(wanted):
                yield f"{node} should be {wanted}, and {misfit}"


def _kernel(entry: dict[str, Any]) -> Kernel:
    kind = str(entry.get("LayerType", ""))
    name, tactic = str(entry.get("Name", "")), str(entry.get("TacticName", ""))
    generated = kind == _GENERATED
    return Kernel(
        name=name,
        kind=kind,
        inputs=tuple(_type(item) for item in entry.get("Inputs") or ()),
        weights=_weights(entry),
        nodes=tuple(_ONNX_NODE.findall(str(entry.get("Metadata", "")))),
        multiplies=(
            _PRODUCT.search(tactic or name) is not None if generated else kind not in _NO_PRODUCT
        ),
    )


def _weights(entry: dict[str, Any]) -> tuple[str, ...]:
    """Types of the weights: the largest constant that is more than a number per channel."""
    stored = entry.get("Weights")  # of layers that TensorRT did not generate
    if isinstance(stored, dict) and stored.get("Count"):
        return (_word(str(stored.get("Type", ""))),)
    constants = [
        item
        for item in entry.get("Constants") or ()
        if sum(size != 1 for size in item.get("Dimensions") or ()) > 1
    ]
    largest = max(constants, key=lambda item: math.prod(item["Dimensions"]), default=None)
    return () if largest is None else (_type(largest),)


def _type(tensor: dict[str, Any]) -> str:
    return _word(str(tensor.get("Format/Datatype") or tensor.get("Datatype") or ""))


def _word(described: str) -> str:
    word = _WORD.search(described)
    return _TYPES[word[1].lower()] if word else "unknown"
