"""Faults in ONNX files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx


def change(model: onnx.ModelProto, name: str, make: Callable[[np.ndarray], Any]) -> None:
    """Replace an initializer by what ``make`` makes of a copy of its values."""
    (tensor,) = [t for t in model.graph.initializer if t.name == name]
    before = onnx.numpy_helper.to_array(tensor)
    after = np.asarray(make(before.copy()), before.dtype, order="C")
    assert not np.array_equal(before, after)
    tensor.CopyFrom(onnx.numpy_helper.from_array(after, name))


def copy_of(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy to put faults in."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def zero(channel: int) -> Callable[[np.ndarray], np.ndarray]:
    """Set a channel of the values to 0."""

    def make(values: np.ndarray) -> np.ndarray:
        values[channel] = 0
        return values

    return make
