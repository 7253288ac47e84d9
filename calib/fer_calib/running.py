"""Running a core: its answers, and what its tensors hold on the way."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import onnx

from fer_calib.crops import Crops
from fer_calib.layers import CORE_INPUT
from fer_calib.onnx_graph import model_of, save_apart
from fer_edge.backends.onnxruntime_engine import ort, quiet_options
from fer_edge.errors import ArtifactError
from fer_edge.evaluation.metrics import softmax
from fer_edge.system.cores import usable_cores
from fer_edge.system.dependencies import requires

Floats: TypeAlias = npt.NDArray[np.float32]

_LARGE = 16 << 20


def probabilities_of(
    core: onnx.ModelProto, crops: Crops, engine: str = "onnxruntime"
) -> npt.NDArray[np.float64]:
    """Run a core, quantised or not, in ``onnxruntime`` or ``openvino``; float64 ``(N, K)``."""
    run = {"onnxruntime": _logits_of_onnxruntime, "openvino": _logits_of_openvino}[engine]
    return softmax(run(core, crops), crops.spec.temperature)


def activations(
    core: onnx.ModelProto, names: Sequence[str], crops: Crops
) -> Iterator[dict[str, Floats]]:
    """Yield the core's input and the tensors ``names``, each ``(n, …)`` for a batch of n crops.

    Some networks fold parts of a crop (windows, patches) into the batch; these are unfolded to
    ``(n, parts, …)``. Raises ArtifactError for a tensor whose size does not follow the batch.
    """
    inner = [name for name in names if name != CORE_INPUT]
    session = session_of(model_of(core, core.graph.node, core.graph.initializer, inner))
    for batch in crops.batches():
        values = session.run(inner, {CORE_INPUT: batch})
        held = {n: _unfolded(n, v, len(batch)) for n, v in zip(inner, values, strict=True)}
        yield {CORE_INPUT: batch, **held}


def session_of(model: onnx.ModelProto, *, optimised: bool = True) -> ort.InferenceSession:
    """Open a model in ONNX Runtime on the CPU; its weights are mapped from a file, not copied.

    With ``optimised=False`` the nodes run as they are: nothing is fused or folded.
    """
    options = quiet_options(usable_cores())
    if not optimised:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if (
        sum(math.prod(tensor.dims) for tensor in model.graph.initializer) > _LARGE
    ):  # slower, but less memory: no rearranged weights, no arena that grows
        options.add_session_config_entry("session.disable_prepacking", "1")
        options.enable_cpu_mem_arena = False
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = save_apart(model, Path(folder))
        return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _unfolded(name: str, values: Floats, count: int) -> Floats:
    if values.shape[:1] == (count,):
        return values
    if not values.ndim or values.shape[0] % count:
        raise ArtifactError(
            f"the tensor {name} cannot be calibrated: its shape {values.shape} does not follow the "
            f"batch of {count} crops"
        )
    return values.reshape(count, -1, *values.shape[1:])


def _logits_of_onnxruntime(core: onnx.ModelProto, crops: Crops) -> Floats:
    session = session_of(core)
    return np.concatenate([session.run(None, {CORE_INPUT: b})[0] for b in crops.batches()])


def _logits_of_openvino(core: onnx.ModelProto, crops: Crops) -> Floats:
    with requires("openvino"):
        from fer_edge.backends.openvino_runtime import process_core
    engine = process_core()
    # by default it computes the float layers in bf16 where the processor can
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        model = engine.read_model(save_apart(core, Path(folder)))
        request = engine.compile_model(model, "CPU", options).create_infer_request()
        # infer returns a buffer that the next call overwrites
        return np.concatenate([np.array(request.infer([b])[0]) for b in crops.batches()])
