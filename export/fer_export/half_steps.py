"""Operators that add up inside, with each step of theirs rounded to float16.

That is the least exact that an engine may do; how far it is off tells which of them can be left to
float16.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, helper

__all__ = ["HAS_STEPS", "half_error"]

Array = npt.NDArray[Any]


def half_error(node: NodeProto, inputs: Sequence[Array | None]) -> float:
    """Largest error of a node in ``HAS_STEPS``, relative to its largest output.

    ``inputs`` are its inputs' values, None for one that is left out. They are rounded to float16
    first, so that the error is the node's own. Inf where float16 overflows.
    """
    steps = _STEPS[node.op_type]
    rounded = [_as_type(value, np.float16) for value in inputs]
    with np.errstate(all="ignore"):
        exact = steps(node, [_as_type(value, np.float64) for value in rounded])
        error = np.abs(steps(node, rounded) - exact).max()
        relative = error / max(np.abs(exact).max(), np.finfo(np.float32).tiny)
    return float(relative) if np.isfinite(relative) else float("inf")


def _as_type(value: Array | None, dtype: type[np.floating]) -> Array | None:
    return value.astype(dtype) if value is not None and value.dtype.kind == "f" else value


def _mean(node: NodeProto, inputs: Sequence[Array | None]) -> Array:
    return _mean_over(_required(inputs, 0), _axes(node, inputs))


def _sum(node: NodeProto, inputs: Sequence[Array | None]) -> Array:
    return _added(_required(inputs, 0), _axes(node, inputs))


def _softmax(node: NodeProto, inputs: Sequence[Array | None]) -> Array:
    values = _required(inputs, 0)
    axis = _attribute(node, "axis", -1) % values.ndim
    powers = np.exp(values - values.max(axis=axis, keepdims=True))
    return np.asarray(powers / _added(powers, (axis,)))


def _layer_norm(node: NodeProto, inputs: Sequence[Array | None]) -> Array:
    values, scale = _required(inputs, 0), _required(inputs, 1)
    axes = tuple(range(int(_attribute(node, "axis", -1)) % values.ndim, values.ndim))
    epsilon = values.dtype.type(_attribute(node, "epsilon", 1e-5))
    centred = values - _mean_over(values, axes)
    scaled = centred / np.sqrt(_mean_over(centred * centred, axes) + epsilon) * scale
    bias = inputs[2] if len(inputs) > 2 else None  # noqa: PLR2004
    return np.asarray(scaled if bias is None else scaled + bias)


_STEPS: dict[str, Callable[[NodeProto, Sequence[Array | None]], Array]] = {
    "GlobalAveragePool": _mean,
    "LayerNormalization": _layer_norm,
    "ReduceMean": _mean,
    "ReduceSum": _sum,
    "Softmax": _softmax,
}

HAS_STEPS = frozenset(_STEPS)
"""Operators whose steps are known. Products are not among them: engines add those in float32."""


def _added(values: Array, axes: tuple[int, ...]) -> Array:
    """Sum over ``axes``, one element after the other, in the type of ``values``; axes are kept."""
    others = [axis for axis in range(values.ndim) if axis not in axes]
    terms = values.transpose(*axes, *others).reshape(-1, *(values.shape[axis] for axis in others))
    total = np.add.accumulate(terms, axis=0, dtype=values.dtype)[-1]
    return np.asarray(np.expand_dims(total, axes))


def _mean_over(values: Array, axes: tuple[int, ...]) -> Array:
    count = np.prod([values.shape[axis] for axis in axes])
    return np.asarray(_added(values, axes) / values.dtype.type(count))


def _axes(node: NodeProto, inputs: Sequence[Array | None]) -> tuple[int, ...]:
    rank = _required(inputs, 0).ndim
    if node.op_type == "GlobalAveragePool":
        return tuple(range(2, rank))
    given = inputs[1] if len(inputs) > 1 else None
    if given is None or not given.size:
        return tuple(range(rank))
    return tuple(sorted(int(axis) % rank for axis in given.ravel()))


def _attribute(node: NodeProto, name: str, default: float) -> Any:
    found = [helper.get_attribute_value(item) for item in node.attribute if item.name == name]
    return found[0] if found else default


def _required(inputs: Sequence[Array | None], position: int) -> Array:
    value = inputs[position]
    if value is None:
        raise ValueError(f"input {position} should be there")
    return value
