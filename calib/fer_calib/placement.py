"""Where quantisers go: which tensors become integers, and which nodes read them as such."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from fer_calib.layers import CORE_OUTPUT, CoreGraph, Layer
from fer_calib.schemes import Scheme
from fer_edge.errors import ConfigurationError


@dataclass(frozen=True)
class Placement:
    """``layers`` compute in integers. ``readers`` maps a tensor to the nodes that read it as
    integers; all other nodes read it in float.
    """

    layers: tuple[Layer, ...]
    readers: dict[str, set[str]]


def place(graph: CoreGraph, scheme: Scheme, keep_float: Collection[str] = ()) -> Placement:
    """Place quantisers for every layer except those named in ``keep_float``.

    Raises ConfigurationError for a name that no layer has, and if no layer is left.
    """
    known = [layer.name for layer in graph.layers]
    if unknown := sorted(set(keep_float) - set(known)):
        raise ConfigurationError(
            f"this core has no layer {', '.join(unknown)}; it has {', '.join(known)}"
        )
    layers = tuple(layer for layer in graph.layers if layer.name not in keep_float)
    if not layers:
        raise ConfigurationError("every layer is kept in float, so nothing would be INT8")
    readers: dict[str, set[str]] = {}
    for layer in layers:
        readers.setdefault(layer.input, set()).add(layer.node)
    if scheme.outputs:
        _close_convolutions(graph, layers, readers)
    _quantise_sums(graph, scheme, layers, readers)
    return Placement(layers, readers)


def _close_convolutions(
    graph: CoreGraph, layers: tuple[Layer, ...], readers: dict[str, set[str]]
) -> None:
    """Quantise the outputs: ONNX Runtime fuses a convolution only if just a quantiser follows."""
    for layer in layers:
        if layer.op == "Conv" and layer.output != CORE_OUTPUT:
            readers[layer.output] = {node.name for node in graph.readers.get(layer.output, [])}


def _quantise_sums(
    graph: CoreGraph, scheme: Scheme, layers: tuple[Layer, ...], readers: dict[str, set[str]]
) -> None:
    """Quantise operands of residual additions between convolutions.

    A transformer's residual stream is read by layer norms alone, so it stays in float.
    """
    given = {layer.output for layer in graph.layers if layer.op == "Conv"}
    integer = {layer.output for layer in layers if layer.op == "Conv"}
    for node in graph.additions():
        for operand in node.input:
            skips = operand in readers and operand not in given
            if skips or (scheme.sums == "all" and operand in integer | readers.keys()):
                readers.setdefault(operand, set()).add(node.name)
