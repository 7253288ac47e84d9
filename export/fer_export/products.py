"""The convolutions and matrix products of an ONNX, with the type that each computes in.

Products of quantised operands compute in int8, others in their own float type. The list goes into
the metadata of every artifact, so that a device can check its engine without the package onnx.
"""

from __future__ import annotations

import json

import onnx

from fer_calib.onnx_graph import OnnxGraph
from fer_edge.errors import ArtifactError

PRODUCT_OPS = ("Conv", "Gemm", "MatMul")
_FLOATS = {"FLOAT": "fp32", "FLOAT16": "fp16", "BFLOAT16": "bf16"}


def name_products(graph: onnx.GraphProto) -> None:
    """Give each product of ``graph`` a unique name, by which it is found in an engine."""
    taken = {node.name for node in graph.node if node.op_type not in PRODUCT_OPS}
    for number, node in enumerate(graph.node):
        if node.op_type in PRODUCT_OPS:
            if not node.name or node.name in taken:
                node.name = f"{node.op_type}_{number}"
            taken.add(node.name)


def product_types(model: onnx.ModelProto) -> str:
    """JSON that maps the name of each Conv, Gemm and MatMul node to ``int8``, ``fp16`` or ``fp32``.

    Raises ArtifactError for a product whose type cannot be inferred.
    """
    graph = OnnxGraph(model)
    found = {}
    for node in graph.nodes:
        if node.op_type not in PRODUCT_OPS:
            continue
        makers = [graph.makers.get(name) for name in node.input[:2]]
        if all(maker is not None and maker.op_type == "DequantizeLinear" for maker in makers):
            found[node.name] = "int8"
        elif (kind := graph.types.get(node.input[0], "")) in _FLOATS:
            found[node.name] = _FLOATS[kind]
        else:
            raise ArtifactError(
                f"the type that {node.op_type} {node.name} computes in cannot be inferred"
            )
    return json.dumps(found)
