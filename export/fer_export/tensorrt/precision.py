"""What an engine's layers really compute in, as the engine inspector tells it.

The inspector's words for a tensor changed with its releases: ``Row major linear FP16 format``,
``Channel major Int8 format where channel % 4 == 0``, or just ``Half`` (see activations.py of
NVIDIA's trt-engine-explorer, which reads the same JSON).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from fer_edge.artifacts.plan import PlanLayer
from fer_edge.errors import EngineError, GateError

__all__ = ["check_layers", "computed_in", "read_layers", "shares"]

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
_MATRIX = re.compile(r"conv|gemm|matmul|matrix_?multiply|fprop|mha", re.IGNORECASE)
_MOVING = {"Reformat", "NoOp", "Constant", "Shuffle", "Identity", "Cast"}
"""Kinds of layers that compute nothing."""
_MOSTLY = 0.5


def read_layers(inspection: str) -> tuple[PlanLayer, ...]:
    """Read the layers that compute from the engine inspector's JSON.

    A layer computes in the narrowest type among its inputs: a convolution of int8 that adds an
    fp16 shortcut is an int8 convolution. Raises EngineError where the inspector tells no types.
    """
    try:
        entries = json.loads(inspection)["Layers"]
    except (ValueError, KeyError, TypeError) as problem:
        raise EngineError(
            f"the engine inspector gave no list of layers: {inspection[:80]!r}"
        ) from problem
    detailed = [entry for entry in entries if isinstance(entry, dict)]
    layers = tuple(_layer(entry) for entry in detailed if entry.get("LayerType") not in _MOVING)
    if not any(layer.precision != "unknown" for layer in layers):
        raise EngineError(
            f"the engine inspector names {len(entries)} layers and the type of none, so the "
            "precision of the plan cannot be checked"
        )
    return layers


def shares(layers: Sequence[PlanLayer]) -> dict[str, float]:
    """Share of the layers by precision, the largest first."""
    counted = Counter(layer.precision for layer in layers)
    return {precision: count / len(layers) for precision, count in counted.most_common()}


def computed_in(layers: Sequence[PlanLayer]) -> str:
    """Name an engine's precision: int8 where it has int8 layers, else what most compute in.

    Convolutions and matrix products count where there are any, all layers otherwise.
    """
    found = shares(_weighty(layers))
    if "int8" in found:
        return "int8"
    known = {name: share for name, share in found.items() if name != "unknown"}
    return max(known, key=lambda name: known[name]) if known else "unknown"


def check_layers(layers: Sequence[PlanLayer], precision: str, plan: str) -> None:
    """Raise GateError where the layers are not in the precision that was asked for.

    An int8 plan needs int8 layers, an fp16 plan at least half of its convolutions and matrix
    products in fp16, and an fp32 plan none of them in less.
    """
    weighty = _weighty(layers)
    found = shares(weighty)
    holds = {
        "int8": found.get("int8", 0) > 0,
        "fp16": found.get("fp16", 0) >= _MOSTLY and "int8" not in found,
        "fp32": found.get("fp32", 0) >= _MOSTLY and not set(found) - {"fp32", "unknown"},
    }[precision]
    if not holds:
        told = ", ".join(f"{share:.0%} in {name}" for name, share in found.items())
        raise GateError(
            f"{plan} should compute in {precision}, and of its {len(weighty)} "
            f"{'convolutions and matrix products' if _has_matrix(layers) else 'layers'} TensorRT "
            f"runs {told}; nothing was kept"
        )


def _weighty(layers: Sequence[PlanLayer]) -> Sequence[PlanLayer]:
    return [layer for layer in layers if layer.matrix] if _has_matrix(layers) else layers


def _has_matrix(layers: Sequence[PlanLayer]) -> bool:
    return any(layer.matrix for layer in layers)


def _layer(entry: dict[str, Any]) -> PlanLayer:
    kind = str(entry.get("LayerType", ""))
    told = " ".join(str(entry.get(key, "")) for key in ("ParameterType", "TacticName"))
    types = {_type(tensor) for tensor in entry.get("Inputs") or entry.get("Outputs") or ()}
    return PlanLayer(
        name=str(entry.get("Name", "")),
        kind=kind,
        precision=next((name for name in _NARROWEST_FIRST if name in types), "unknown"),
        matrix=_MATRIX.search(f"{kind} {told}") is not None,
    )


def _type(tensor: dict[str, Any]) -> str:
    described = str(tensor.get("Format/Datatype") or tensor.get("Datatype") or "")
    word = _WORD.search(described)
    return _TYPES[word[1].lower()] if word else "unknown"
