"""fp32 artifacts whose weights are stored as float16: half the size, computed in float32.

A ``Cast`` to float32 follows each stored weight. Engines fold it when they load the file.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fer_calib.onnx_graph import check, model_of
from fer_edge.errors import GateError

_SUFFIX = ".stored_as_half"


def with_half_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy with the matrices and kernels in float16; vectors stay as they are.

    Raises GateError for a weight that float16 cannot represent.
    """
    casts, tensors = [], []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) < 2:  # noqa: PLR2004
            tensors.append(tensor)
            continue
        with np.errstate(over="ignore"):
            values = numpy_helper.to_array(tensor).astype(np.float16)
        if not np.isfinite(values).all():
            raise GateError(
                f"the weight {tensor.name} is too large for float16; leave out --half-weights"
            )
        stored = f"{tensor.name}{_SUFFIX}"
        tensors.append(numpy_helper.from_array(values, stored))
        cast = helper.make_node("Cast", [stored], [tensor.name], stored, to=TensorProto.FLOAT)
        casts.append(cast)
    made = model_of(model, [*casts, *model.graph.node], tensors)
    check(made)
    return made


def with_float_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Undo ``with_half_weights``, except for what float16 rounded away."""
    stored = {
        node.input[0]: node.output[0]
        for node in model.graph.node
        if node.op_type == "Cast" and node.name.endswith(_SUFFIX) and node.name == node.input[0]
    }
    if not stored:
        return model
    tensors = []
    for tensor in model.graph.initializer:
        if tensor.name in stored:
            values = numpy_helper.to_array(tensor).astype(np.float32)
            tensor = numpy_helper.from_array(values, stored[tensor.name])  # noqa: PLW2901
        tensors.append(tensor)
    nodes = [node for node in model.graph.node if node.name not in stored]
    return model_of(model, nodes, tensors)
