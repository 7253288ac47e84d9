"""A static batch, for engines that like one: some plan better when every shape is known."""

from __future__ import annotations

import onnx

from fer_calib.onnx_graph import check
from fer_edge.errors import ArtifactError, ConfigurationError

__all__ = ["with_static_batch"]


def with_static_batch(model: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    """Return a copy of a core or an artifact that takes ``batch`` crops, no more and no less.

    Raises ConfigurationError for a batch below 1 and for a model that is static at another one,
    and ArtifactError for a graph that cannot have that batch.
    """
    if batch < 1:
        raise ConfigurationError(f"a static batch holds at least one crop, not {batch}")
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for value in (*changed.graph.input, *changed.graph.output):
        dimension = value.type.tensor_type.shape.dim[0]
        if dimension.HasField("dim_value") and dimension.dim_value != batch:
            raise ConfigurationError(
                f"{value.name} is static at a batch of {dimension.dim_value} and cannot become "
                f"{batch}; start from a model with a dynamic batch"
            )
        dimension.dim_value = batch
    del changed.graph.value_info[:]
    try:
        check(changed)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as problem:
        raise ArtifactError(
            f"this network cannot have a static batch of {batch}: {problem}"
        ) from problem
    return changed
