"""numpy's numbers in a pickle: what a training saves with its best accuracy, and nothing else.

``torch.load(weights_only=True)`` refuses them. Here they are read by a function of ours, which
takes the bytes of one number and calls nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["plain_scalars"]

_KINDS = "biufc"
_NUMBERS = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_REALS = ("float16", "float32", "float64")
_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
"""The same function before numpy 2, and since."""


def plain_scalars() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """What ``torch.serialization.safe_globals`` takes to read numpy's numbers."""
    kinds = {type(np.dtype(name)) for name in (*_NUMBERS, *_REALS)}
    return [np.dtype, *kinds, *((_number, f"{module}.scalar") for module in _MODULES)]


def _number(kind: object, data: object = b"") -> object:
    """One number from its bytes. Raises ValueError for any other type, objects above all."""
    if not isinstance(kind, np.dtype) or kind.kind not in _KINDS or not isinstance(data, bytes):
        raise ValueError("only numbers of numpy are read")
    (value,) = np.frombuffer(data, kind)
    return value.item()
