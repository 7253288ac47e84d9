"""Calls held against the signatures that pybind11 writes into docstrings.

``create_autospec`` refuses names that a class has not, and takes any arguments for those that it
has. This adds the arguments.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any, SupportsIndex
from unittest.mock import MagicMock, create_autospec

_CALL = re.compile(r"^(?:\d+\. )?(\w+)\((.*)\)(?: -> .*)?$")
_OPENING, _CLOSING = "([{<", ")]}>"
_PLAIN: dict[str, Any] = {
    "str": str,
    "bool": bool,
    "float": float,
    # pybind11 takes what can become an index, and no float
    "int": SupportsIndex,
    "typing.SupportsInt": SupportsIndex,
    "tuple": tuple,
    "list": list,
}
_BUFFERS = ("buffer", "typing_extensions.Buffer")
_REQUIRED = inspect.Parameter.empty


class Signature:
    """One overload: names, types as text, and which may be left out."""

    def __init__(self, parameters: str) -> None:
        self.types: dict[str, str] = {}
        found = []
        for text in _split(parameters):
            declared, _, default = text.partition(" = ")
            name, _, kind = declared.partition(": ")
            self.types[name] = kind
            found.append(
                inspect.Parameter(
                    name,
                    inspect.Parameter.POSITIONAL_OR_KEYWORD,
                    default=default if default else _REQUIRED,
                )
            )
        self._signature = inspect.Signature(found)

    def misfit(
        self, bindings: ModuleType, arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> str:
        """Why a call, ``self`` included, does not fit; empty if it does."""
        try:
            bound = self._signature.bind(*arguments, **named)
        except TypeError as problem:
            return str(problem)
        for name, value in bound.arguments.items():
            kind = self.types[name]
            if name != "self" and not _fits(bindings, kind, value):
                return f"{name} should be {kind}, not {value!r}"
        return ""


@cache
def signatures(docstring: str) -> tuple[Signature, ...]:
    """The overloads of a bound method, as its docstring lists them."""
    found = []
    for line in docstring.splitlines():
        match = _CALL.match(line)
        if match and match[2].startswith("self"):
            found.append(Signature(match[2]))
    if not found:
        raise AssertionError(f"no signature in the docstring {docstring!r}")
    return tuple(found)


def checked(
    bindings: ModuleType, owner: type, name: str, function: Callable[..., Any]
) -> Callable[..., Any]:
    """``function`` in place of the method ``name`` of ``owner``, called only as that could be."""
    overloads = signatures(getattr(owner, name).__doc__)

    def call(*arguments: Any, **named: Any) -> Any:
        misfits = [o.misfit(bindings, (None, *arguments), named) for o in overloads]
        if all(misfits):
            raise TypeError(f"{owner.__name__}.{name}: {' | '.join(misfits)}")
        return function(*arguments, **named)

    return call


def stand_in(bindings: ModuleType, owner: type, /, **behaviour: Any) -> MagicMock:
    """An instance of ``owner`` that does what ``behaviour`` says, and nothing else.

    Functions take the place of methods, other values that of attributes. A method that has no
    behaviour raises when it is called.
    """
    double: MagicMock = create_autospec(owner, instance=True, spec_set=True)
    for name in dir(owner):
        if name.startswith("_") or not callable(getattr(owner, name)):
            continue
        method = getattr(double, name)
        if name in behaviour:
            method.side_effect = checked(bindings, owner, name, behaviour.pop(name))
        else:
            method.side_effect = AssertionError(
                f"the double of {owner.__name__} does not know how to {name}"
            )
    for name, value in behaviour.items():
        setattr(double, name, value)
    return double


def _fits(bindings: ModuleType, kind: str, value: Any) -> bool:
    if kind in _BUFFERS:
        return isinstance(value, (bytes, bytearray, memoryview))
    if kind in _PLAIN:
        return isinstance(value, _PLAIN[kind])
    wanted = getattr(bindings, kind.rpartition(".")[2], None)
    if not isinstance(wanted, type) or value is None:
        return True
    if kind.endswith(".Dims") and isinstance(value, (tuple, list)):
        return all(isinstance(size, int) for size in value)
    return isinstance(value, wanted)


def _split(parameters: str) -> list[str]:
    """Split at the commas that stand in no brackets."""
    parts, depth, start = [], 0, 0
    for index, letter in enumerate(parameters):
        depth += (letter in _OPENING) - (letter in _CLOSING)
        if letter == "," and depth == 0:
            parts.append(parameters[start:index].strip())
            start = index + 1
    return [*parts, parameters[start:].strip()]
