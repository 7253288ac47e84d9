"""Frozen dataclasses to JSON and back, with checks when reading.

Every field of a file is compared with what the dataclass declares. A missing, unknown or mistyped
field is an error that names its path. Specs, manifests and recipes are all read here.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import sys
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from fer_edge.errors import ArtifactError, FerEdgeError

T = TypeVar("T")

_MAX_ITEMS = 200_000
"""The longest list that is read: several times the number of pictures in FER2013."""


def encode(record: object) -> dict[str, Any]:
    """Turn a dataclass instance into plain dictionaries, lists and scalars."""
    return typing.cast("dict[str, Any]", _plain(dataclasses.asdict(typing.cast("Any", record))))


def decode(cls: type[T], value: object, where: str, error: type[FerEdgeError] = ArtifactError) -> T:
    """Build ``cls``, a dataclass, from plain data.

    ``where`` names the source in messages. Raises ``error`` for a missing, unknown or mistyped
    field, for a value that the dataclass itself refuses, and for another ``schema`` than the
    number that the dataclass has as its default.
    """
    try:
        return typing.cast("T", _convert(cls, value, where))
    except (TypeError, ValueError) as problem:
        raise error(str(problem)) from problem


def json_digest(value: object) -> str:
    """sha256 over plain data as JSON, whatever the order of its keys; hexadecimal."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def parse_json(text: str | bytes, where: str, most: int | None = None) -> object:
    """Read JSON from an untrusted source; every defect is an ArtifactError.

    ``most`` is the greatest length of ``text``: parsing takes many times its size in memory.
    """
    if most is not None and len(text) > most:
        raise ArtifactError(f"{where} has {len(text):,} bytes; the most is {most:,}")
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as problem:
        raise ArtifactError(f"{where} is not valid JSON: {problem}") from problem


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number in JSON")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


@functools.cache
def _field_types(cls: type) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _convert(kind: Any, value: object, where: str) -> Any:  # noqa: PLR0911 - one line per kind
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _convert_fields(typing.cast("type", kind), value, where)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        (inner,) = (option for option in arguments if option is not type(None))
        return _convert(inner, value, where)
    if origin is tuple:
        items = _expect(value, list, where)
        if len(items) > _MAX_ITEMS:
            raise ValueError(f"{where} has {len(items):,} items; the most is {_MAX_ITEMS:,}")
        kinds = arguments[:1] * len(items) if arguments[-1] is Ellipsis else arguments
        if len(kinds) != len(items):
            raise ValueError(f"{where} should have {len(kinds)} items, not {len(items)}")
        return tuple(_convert(kinds[i], v, f"{where}[{i}]") for i, v in enumerate(items))
    if origin in (dict, Mapping):
        items = _expect(value, dict, where)
        return {key: _convert(arguments[1], v, f"{where}.{key}") for key, v in items.items()}
    if kind is float:
        return _convert_float(value, where)
    return _expect(value, kind, where)


def _convert_float(value: object, where: str) -> float:
    number = value if type(value) is int else _expect(value, float, where)
    if not -sys.float_info.max <= number <= sys.float_info.max:
        raise ValueError(f"{where} should be a finite number, not {number!r:.80}")
    return float(number)


def _convert_fields(cls: type, value: object, where: str) -> Any:
    given = _expect(value, dict, where)
    _check_schema(given, getattr(cls, "schema", None), where)
    known = _field_types(cls)
    required = {
        field.name
        for field in dataclasses.fields(cls)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    if missing := sorted(required - given.keys()):
        raise ValueError(f"{where} lacks the fields {', '.join(missing)}")
    if surplus := sorted(given.keys() - known.keys()):
        named = ", ".join(f"{name!r:.40}" for name in surplus)  # repr: a file may hold anything
        raise ValueError(f"{where} has unknown fields {named}; known are {', '.join(known)}")
    values = {k: _convert(known[k], v, f"{where}.{k}") for k, v in given.items()}
    try:
        return cls(**values)
    except ValueError as problem:
        raise ValueError(f"{where}: {problem}") from problem


def _check_schema(given: Mapping[str, object], known: object, where: str) -> None:
    schema = given.get("schema", known)
    if type(schema) is not int or type(known) is not int or schema == known:
        return
    if schema > known:
        raise ValueError(
            f"{where} has schema {schema}, and this release reads up to {known}. "
            "Upgrade with: pip install -U fer-edge"
        )
    raise ValueError(f"{where}: schema should be {known}, not {schema}")


def _expect(value: object, kind: Any, where: str) -> Any:
    # bool is an int to Python, never to a file format
    if type(value) is not kind:
        raise TypeError(f"{where} should be of type {kind.__name__}, not {value!r:.80}")
    return value
