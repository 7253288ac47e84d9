"""The layers of a core that quantisation turns into integers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import onnx

from fer_calib.onnx_graph import OnnxGraph
from fer_edge.errors import ArtifactError

CORE_INPUT, CORE_OUTPUT = "normalized", "logits"
"""Names of a core's only input, float32 ``(batch, C, H, W)``, and output, ``(batch, K)``."""

LAYER_OPS = ("Conv", "Gemm", "MatMul")
"""Operators that are quantised if they have a weight. All others stay in float: softmax, layer norm
and GELU lose most accuracy, and products of two activations (attention) were slower as integers."""

_BOUNDS = ("Relu", "Clip")
_BIAS = 2
_MATRIX = 2
_GEMM_DEFAULTS = {"alpha": 1.0, "beta": 1.0, "transA": 0}


@dataclass(frozen=True)
class Layer:
    """A convolution or matrix product with a weight.

    ``node`` is its name in the graph, ``name`` that of its module in the network. ``weight`` and
    ``bias`` are initializers; the output channels of the weight are on ``axis``. Engines compute a
    ReLU or clip together with the layer in front of it, so ``output`` is that of the ReLU or clip
    if one follows.
    """

    name: str
    node: str
    op: str
    input: str
    weight: str
    axis: int
    bias: str | None
    output: str


class CoreGraph(OnnxGraph):
    """An index over a core and its ``layers``.

    Raises ArtifactError for a graph that is not a core, has a fixed batch, is quantised already,
    has nodes without names, or has no layer to quantise.
    """

    def __init__(self, core: onnx.ModelProto) -> None:
        super().__init__(core)
        _check(self.model)
        found = [self._layer(node) for node in self.nodes if self._is_layer(node)]
        if not found:
            raise ArtifactError(
                f"this core has nothing to quantise: no {', '.join(LAYER_OPS)} with a float weight"
            )
        self.layers = _with_unique_names(found)

    def additions(self) -> list[onnx.NodeProto]:
        """Residual additions: sums of two activations."""
        return [
            node
            for node in self.nodes
            if node.op_type == "Add" and not any(name in self.initializers for name in node.input)
        ]

    def tensors(self) -> list[str]:
        """Every activation that some form of INT8 quantises, in the order of the graph."""
        given = {layer.output for layer in self.layers if layer.op == "Conv"}
        wanted = ({layer.input for layer in self.layers} | given) - {CORE_OUTPUT}
        made = [name for node in self.nodes for name in node.output]
        return [name for name in (CORE_INPUT, *made) if name in wanted]

    def _is_layer(self, node: onnx.NodeProto) -> bool:
        if node.op_type not in LAYER_OPS or node.input[1] not in self.initializers:
            return False
        if node.input[0] in self.initializers:
            return False
        if node.op_type == "MatMul":
            return len(self.initializers[node.input[1]].dims) == _MATRIX
        given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        return all(given.get(key, value) == value for key, value in _GEMM_DEFAULTS.items())

    def _layer(self, node: onnx.NodeProto) -> Layer:
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        has_bias = len(node.input) > _BIAS and node.input[_BIAS] in self.initializers
        return Layer(
            name=self._known_name(node),
            node=node.name,
            op=node.op_type,
            input=node.input[0],
            weight=node.input[1],
            axis=0 if node.op_type == "Conv" or transposed else 1,
            bias=node.input[_BIAS] if has_bias else None,
            output=self._behind_bound(node.output[0]),
        )

    def _known_name(self, node: onnx.NodeProto) -> str:
        """The module of the network that a layer's parameters are named after."""
        following = [
            x for n in self.readers.get(node.output[0], []) if n.op_type == "Add" for x in n.input
        ]
        for name in (*node.input[1:], *following):
            if name in self.initializers and name.endswith((".weight", ".bias")):
                return str(name.rpartition(".")[0])
        return str(node.name)

    def _behind_bound(self, name: str) -> str:
        readers = self.readers.get(name, [])
        follows = len(readers) == 1 and readers[0].op_type in _BOUNDS
        return readers[0].output[0] if follows else name


def _with_unique_names(layers: list[Layer]) -> tuple[Layer, ...]:
    """Layers that share a parameter are named after their nodes instead."""
    counts = Counter(layer.name for layer in layers)
    return tuple(
        replace(layer, name=layer.node) if counts[layer.name] > 1 else layer for layer in layers
    )


def _check(core: onnx.ModelProto) -> None:
    graph = core.graph
    inputs, outputs = [i.name for i in graph.input], [o.name for o in graph.output]
    if inputs != [CORE_INPUT] or outputs != [CORE_OUTPUT]:
        raise ArtifactError(
            f"expected a core, from {CORE_INPUT} to {CORE_OUTPUT}, not a graph from "
            f"{', '.join(inputs)} to {', '.join(outputs)}; quantise before attaching the contract"
        )
    if fixed := graph.input[0].type.tensor_type.shape.dim[0].dim_value:
        raise ArtifactError(
            f"this core has a fixed batch of {fixed}; calibrate the dynamic one and make the "
            "result static"
        )
    if any(node.op_type.endswith("QuantizeLinear") for node in graph.node):
        raise ArtifactError("this core is quantised already; start from the float32 one")
    names = [node.name for node in graph.node]
    if "" in names or len(set(names)) < len(names):
        raise ArtifactError("every node of a core needs a name of its own; export it again")
