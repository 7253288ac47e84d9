"""Refuses ONNX files that keep weights in other files, before an engine opens those.

ONNX Runtime and OpenVINO open whatever path a model names, relative to the current folder, and the
hash of the artifact does not cover that file. Only the fields that lead to a tensor are read
(onnx.proto3; Protocol Buffers encoding), so neither onnx nor protobuf is needed.
"""

from __future__ import annotations

from collections.abc import Iterator

from fer_edge.artifacts.artifact import Artifact
from fer_edge.errors import ArtifactError

__all__ = ["has_external_data", "refuse_external_data"]

_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        22: "sparse tensor",
        23: "sparse tensor",
    },
    "sparse tensor": {1: "tensor", 2: "tensor"},
}
"""For each kind of message, the fields whose messages may lead to a tensor."""

_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIZES = {_FIXED64: 8, _FIXED32: 4}
_MAX_DEPTH = 100
_MAX_FIELDS = 1_000_000
"""The most fields of one message: ten times as many as the longest graphs in use have."""
_LONGEST_VARINT = 10
_MAX_TAG = 2**32 - 1


def refuse_external_data(artifact: Artifact) -> None:
    """Raise ArtifactError for an ONNX with weights in another file, and for no ONNX at all."""
    try:
        outside = has_external_data(artifact.data)
    except ValueError as problem:
        # the engine might read it in another way
        raise ArtifactError(
            f"{artifact.path} is not an ONNX model, or is damaged: {problem}"
        ) from problem
    if outside:
        raise ArtifactError(
            f"{artifact.path} keeps weights in another file, which its hash does not cover. Write "
            "it as one file (onnx.save without save_as_external_data), or export it again"
        )


def has_external_data(data: bytes) -> bool:
    """Whether a tensor of an ONNX model names another file. Raises ValueError if it is no ONNX."""
    return _leads_outside(memoryview(data), "model", _MAX_DEPTH)


def _leads_outside(data: memoryview, kind: str, depth: int) -> bool:
    if not depth:
        raise ValueError("nested too deeply")
    inside = _INSIDE.get(kind, {})
    for field, value in _fields(data):
        if isinstance(value, int):
            if kind == "tensor" and field == _DATA_LOCATION and value:
                return True
        elif kind == "tensor":
            if field == _EXTERNAL_DATA:
                return True
        elif field in inside and _leads_outside(value, inside[field], depth - 1):
            return True
    return False


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield the fields of a message: numbers as they are, all others as bytes."""
    at, end, count = 0, len(data), 0
    while at < end:
        count += 1
        if count > _MAX_FIELDS:
            raise ValueError(f"a message of more than {_MAX_FIELDS:,} fields")
        tag, at = _varint(data, at)
        field, wire = tag >> 3, tag & 7
        if not field or tag > _MAX_TAG:
            # a reader that keeps 32 bits of a tag would see another field
            raise ValueError(f"there is no field {field}")
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield field, value
            continue
        if wire == _BYTES:
            size, at = _varint(data, at)
        elif wire in _SIZES:
            size = _SIZES[wire]
        else:
            raise ValueError(f"wire type {wire} is not used by ONNX")
        if at + size > end:
            raise ValueError("the message ends early")
        yield field, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for index in range(_LONGEST_VARINT):
        if at >= len(data):
            raise ValueError("the message ends early")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:  # noqa: PLR2004 - the highest bit means that more bytes follow
            return value, at
    raise ValueError("a number of more than ten bytes")
