"""The form that NNCF, OpenVINO's own tool, gives a core: it competes with ours for OpenVINO."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Collection
from contextlib import redirect_stdout, suppress

import onnx

from fer_calib.crops import Crops
from fer_calib.graph import CORE_INPUT, Graph
from fer_edge.errors import ArtifactError
from fer_edge.system.dependencies import requires

__all__ = ["NNCF", "quantize_with_nncf"]

NNCF = "nncf"
"""What this form is called beside ``SCHEMES``."""

_TRANSFORMER_OPS = {"LayerNormalization", "Softmax"}
_BATCH = 8


def quantize_with_nncf(
    core: onnx.ModelProto, calibration: Crops, *, keep_float: Collection[str] = ()
) -> onnx.ModelProto:
    """Quantise a core with ``nncf.quantize``; ``core`` stays as it is.

    NNCF averages the ranges of batches and corrects biases. Weights keep to 7 bits, as those of our
    forms for x86 do, except in depthwise convolutions, where NNCF expects no overflow. Its uint8
    quantisers behind ReLU have the zero-point 0: TensorRT refuses them. Raises
    MissingDependencyError without NNCF, and ArtifactError for a network that it does not quantise.
    """
    # else it reports every use to its makers; what is set already is the user's choice
    os.environ.setdefault("NNCF_CI", "1")
    # NNCF imports both engines; these bring them without their telemetry
    import fer_edge.backends.onnxruntime_engine

    with suppress(ImportError):
        import fer_edge.backends.openvino_runtime  # noqa: F401
    with requires("calib"):
        import nncf
    graph = Graph(core)
    names = [layer.node for layer in graph.layers if layer.name in keep_float]
    transformer = any(node.op_type in _TRANSFORMER_OPS for node in core.graph.node)
    batches = list(calibration.batches(_BATCH))
    nncf.set_log_level(logging.ERROR)
    advanced = nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE)
    try:
        with redirect_stdout(io.StringIO()):  # standard output is for results, not for its bars
            model: onnx.ModelProto = nncf.quantize(
                core,
                nncf.Dataset(batches, lambda batch: {CORE_INPUT: batch}),
                subset_size=len(batches),
                model_type=nncf.ModelType.TRANSFORMER if transformer else None,
                ignored_scope=nncf.IgnoredScope(names=names) if names else None,
                advanced_parameters=advanced,
            )
    except Exception as problem:  # of several modules of NNCF's, without a common class
        reason = " ".join(str(problem).split())
        raise ArtifactError(f"NNCF cannot quantise this network: {reason}") from problem
    return model
