"""The network alone as ONNX: normalised float32 in, logits out."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import onnx
import torch
from torch import nn

from fer_calib.layers import CORE_INPUT, CORE_OUTPUT
from fer_edge.artifacts.spec import ModelSpec
from fer_export.contract_nodes import OPSET

_MAX_BATCH = 1024


def export_core(network: nn.Module, spec: ModelSpec) -> onnx.ModelProto:
    """Trace a network into a graph from ``normalized`` to ``logits``.

    ``normalized`` is float32 ``(batch, C, H, W)``, ``logits`` float32 ``(batch, 7)``, and the batch
    is dynamic. The weights are inside; names and paths of this machine are not.
    """
    example = torch.zeros(2, spec.input.channels, spec.input.height, spec.input.width)
    batch = torch.export.Dim("batch", min=1, max=_MAX_BATCH)
    with _quiet():
        program = torch.onnx.export(
            network.eval(),
            (example,),
            input_names=[CORE_INPUT],
            output_names=[CORE_OUTPUT],
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=({0: batch},),
            external_data=False,
            verbose=False,
        )
    model = cast("torch.onnx.ONNXProgram", program).model_proto
    _remove_traces(model)
    return model


def _remove_traces(model: onnx.ModelProto) -> None:
    """Drop stack traces and module names, which take space and reveal the exporting machine."""
    del model.metadata_props[:]
    graph = model.graph
    del graph.metadata_props[:]
    del graph.value_info[:]
    graph.doc_string = ""
    for item in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        item.doc_string = ""
        del item.metadata_props[:]


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the exporter's notes about itself."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
