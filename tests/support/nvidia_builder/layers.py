"""A builder's own list of the layers that it made, as the engine inspector would tell it.

The builder logs it; the inspector, which needs a GPU, gives the same fields as JSON.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["HEADING", "read_layers", "shorten", "stretch"]

HEADING = "Layers"
"""The message with the list begins so."""

_LAYER = re.compile(
    r"Name: (?P<Name>.*?), LayerType: (?P<LayerType>.*?), Inputs: \[(?P<Inputs>.*?)\], "
    r"Constants: \[(?P<Constants>.*?)\], Outputs: \[(?P<Outputs>.*?)\], "
    r"TacticName: (?P<TacticName>.*?), StreamId: .*?, Metadata: (?P<Metadata>.*)"
)
_TENSOR = re.compile(r"Name: .*?, Dimensions: \[(.*?)\], .*?Datatype: (\w+)")
_ONNX_NODE = re.compile(r"\[ONNX Layer: (.*?)\]")
_HASH = re.compile(r"_0x[0-9a-f]+")
_TENSORS = ("Inputs", "Constants", "Outputs")


def read_layers(message: str) -> list[dict[str, Any]]:
    """The layers in one message of the builder's log."""
    found = []
    for line in message.splitlines():
        if match := _LAYER.match(line):
            layer: dict[str, Any] = match.groupdict()
            layer |= {name: _tensors(layer[name]) for name in _TENSORS}
            found.append(layer)
    return found


def shorten(layer: dict[str, Any]) -> list[Any]:
    """What our tests need of a layer, in a form of our own."""
    return [
        layer["Name"],
        layer["LayerType"],
        _HASH.sub("", layer["TacticName"]),
        " ".join(one["Datatype"] for one in layer["Inputs"]),
        " ".join(
            f"{one['Datatype']}:{'x'.join(map(str, one['Dimensions']))}"
            for one in layer["Constants"]
        ),
        _ONNX_NODE.findall(layer["Metadata"]),
    ]


def stretch(short: list[Any]) -> dict[str, Any]:
    """The layer again, with the fields that the inspector has."""
    name, kind, tactic, inputs, constants, nodes = short
    return {
        "Name": name,
        "LayerType": kind,
        "Inputs": [_tensor(one) for one in inputs.split()],
        "Constants": [_tensor(one) for one in constants.split()],
        "TacticName": tactic,
        "Metadata": "".join(f"[ONNX Layer: {node}]" for node in nodes),
    }


def _tensors(text: str) -> list[dict[str, Any]]:
    return [
        {"Datatype": kind, "Dimensions": [int(size) for size in sizes.split(",") if size]}
        for sizes, kind in _TENSOR.findall(text)
    ]


def _tensor(text: str) -> dict[str, Any]:
    kind, _, sizes = text.partition(":")
    return {"Datatype": kind, "Dimensions": [int(size) for size in sizes.split("x") if size]}
