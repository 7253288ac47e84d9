"""Running a core: its answers, and what its tensors hold on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import onnx

from fer_calib.crops import Crops
from fer_calib.graph import CORE_INPUT
from fer_edge.backends.onnxruntime_engine import ort, quiet_session
from fer_edge.errors import ArtifactError, ConfigurationError
from fer_edge.system.cores import usable_cores
from fer_edge.system.dependencies import requires

__all__ = ["RUNNERS", "Floats", "Runner", "activations", "find_runner", "logits_of"]

Floats: TypeAlias = npt.NDArray[np.float32]
Runner: TypeAlias = Callable[[onnx.ModelProto, Crops], Floats]

_BATCH = 32


def logits_of(core: onnx.ModelProto, crops: Crops) -> Floats:
    """Run a core, quantised or not, with ONNX Runtime; float32 ``(N, 7)``."""
    session = _session(core)
    return np.concatenate(
        [session.run(None, {CORE_INPUT: batch})[0] for batch in crops.batches(_BATCH)]
    )


def activations(
    core: onnx.ModelProto, names: Sequence[str], crops: Crops
) -> Iterator[dict[str, Floats]]:
    """Give what the tensors ``names`` hold, batch by batch, each ``(n, …)`` for a batch of n crops.

    Some networks fold parts of a crop into the batch (windows, patches); these are unfolded to
    ``(n, parts, …)``. Raises ArtifactError for a tensor that does not follow the batch.
    """
    probe = onnx.ModelProto()
    probe.CopyFrom(core)
    del probe.graph.output[:]
    inner = [name for name in names if name != CORE_INPUT]
    probe.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in inner
    )
    session = _session(probe) if inner else None
    for batch in crops.batches():
        values = session.run(inner, {CORE_INPUT: batch}) if session else []
        held = {n: _unfolded(n, v, len(batch)) for n, v in zip(inner, values, strict=True)}
        if CORE_INPUT in names:
            held[CORE_INPUT] = batch
        yield held


def _unfolded(name: str, values: Floats, count: int) -> Floats:
    if values.shape[:1] == (count,):
        return values
    if not values.ndim or values.shape[0] % count:
        raise ArtifactError(
            f"the tensor {name} has the shape {values.shape} for {count} crops: it does not follow "
            "the batch, so it cannot be calibrated"
        )
    return values.reshape(count, -1, *values.shape[1:])


def _logits_of_openvino(core: onnx.ModelProto, crops: Crops) -> Floats:
    with requires("openvino"):
        from fer_edge.backends.openvino_runtime import ov
    engine = ov.Core()
    # left to itself, it would compute the float layers in bf16 where the processor can
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = engine.compile_model(engine.read_model(core.SerializeToString()), "CPU", options)
    request = compiled.create_infer_request()
    # what infer gives is overwritten by the next call
    return np.concatenate([np.array(request.infer([b])[0]) for b in crops.batches(_BATCH)])


RUNNERS: dict[str, Runner] = {"onnxruntime": logits_of, "openvino": _logits_of_openvino}
"""What can measure a core, by the name of the engine."""


def find_runner(engine: str) -> Runner:
    """Look up a runner. Raises ConfigurationError for an unknown engine."""
    if engine not in RUNNERS:
        raise ConfigurationError(f"no way to run a core in {engine!r}; there are {list(RUNNERS)}")
    return RUNNERS[engine]


def _session(model: onnx.ModelProto) -> ort.InferenceSession:
    return quiet_session(model.SerializeToString(), usable_cores())
