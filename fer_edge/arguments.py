"""Numbers that callers give, checked before they are used."""

from __future__ import annotations

import operator
from collections.abc import Callable
from contextlib import suppress
from numbers import Real

from fer_edge.errors import ConfigurationError


def whole_number(name: str, value: object, most: float) -> int:
    """Return ``value`` as an int; it may be of any type of whole number, such as NumPy's.

    Raises ConfigurationError unless it is 1 to ``most``. ``True`` does not count as a number.
    """
    if not isinstance(value, bool):
        with suppress(TypeError):
            number = operator.index(value)  # type: ignore[arg-type]
            if 1 <= number <= most:
                return number
    raise ConfigurationError(f"{name} should be a whole number from 1 to {most}, not {value!r:.40}")


def real_number(name: str, value: object, expected: str, fits: Callable[[float], bool]) -> float:
    """Return ``value`` as a float. Raises ConfigurationError, with ``expected``, unless it fits."""
    if isinstance(value, Real):
        with suppress(OverflowError):
            number = float(value)
            if fits(number):
                return number
    raise ConfigurationError(f"{name} should be {expected}, not {value!r:.40}")
