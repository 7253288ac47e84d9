"""Numbers that callers give, checked where they come in."""

from __future__ import annotations

import operator
from collections.abc import Callable
from contextlib import suppress
from numbers import Real

from fer_edge.errors import ConfigurationError

__all__ = ["real_number", "whole_number"]


def whole_number(name: str, value: object, most: float) -> int:
    """``value`` as an int, whatever type of whole number it is of, NumPy's among them.

    Raises ConfigurationError unless it is 1 to ``most``; ``True`` is no number.
    """
    if not isinstance(value, bool):
        with suppress(TypeError):
            number = operator.index(value)  # type: ignore[arg-type]
            if 1 <= number <= most:
                return number
    raise ConfigurationError(
        f"{name} should be a whole number from 1 to {most}, not {_shown(value)}"
    )


def real_number(name: str, value: object, expected: str, fits: Callable[[float], bool]) -> float:
    """``value`` as a float. Raises ConfigurationError, with what was ``expected``, if none fits."""
    if isinstance(value, Real):
        with suppress(OverflowError):
            number = float(value)
            if fits(number):
                return number
    raise ConfigurationError(f"{name} should be {expected}, not {_shown(value)}")


def _shown(value: object) -> str:
    return f"{value!r:.40}"
