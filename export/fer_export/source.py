"""Where an export starts: a checkpoint, or an fp32 ONNX of ours.

Each gives the float core, and the answers that every artifact is held against.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from fer_edge.artifacts.model import Model
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.backends.external_data import refuse_external_data
from fer_edge.errors import ArtifactError, ConfigurationError
from fer_edge.evaluation.metrics import softmax
from fer_edge.predictor import Predictor
from fer_edge.system.files import sha256_of
from fer_export.contract_nodes import detach_contract
from fer_export.half_weights import with_float_weights
from fer_export.verification import answers_of, batches

__all__ = ["Source", "from_checkpoint", "from_onnx"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Source:
    """A float network.

    ``core`` maps ``normalized`` to ``logits`` (see ``contract``); ``answers`` maps crops, uint8
    ``(N, H, W, C)``, to the probabilities ``(N, K)`` of the reference. ``checkpoint`` is None
    where there is none. ``release`` frees the memory of the reference until it is asked again.
    """

    spec: ModelSpec
    core: onnx.ModelProto
    answers: Callable[[npt.NDArray[np.uint8]], Floats]
    checkpoint: Path | None
    release: Callable[[], None] = lambda: None


def from_checkpoint(path: Path) -> Source:
    """Trace a checkpoint; the reference is its torch network.

    Needs torch. Raises ArtifactError for a file that is none or does not fit its spec.
    """
    import torch

    from fer_edge.torch_model import checkpoint
    from fer_edge.torch_model.folding import folded
    from fer_edge.torch_model.network import Normalized
    from fer_export.core import export_core

    network, spec = checkpoint.load(path)
    core = export_core(folded(network), spec)
    held = [network]

    @torch.no_grad()
    def answers(tensors: npt.NDArray[np.uint8]) -> Floats:
        if not held:
            held.append(checkpoint.load(path)[0])
        model = Normalized(held[0], spec).eval()
        logits = [
            model(torch.from_numpy(part).permute(0, 3, 1, 2)).numpy()
            for part in batches(tensors, "the network")
        ]
        return softmax(np.concatenate(logits), spec.temperature)

    spec = spec.with_provenance(parent_sha256=sha256_of(path))
    del network

    return Source(spec, core, answers, path, held.clear)


def from_onnx(path: str | Path) -> Source:
    """Take the core out of an fp32 artifact of ours; the reference is that artifact itself.

    ``path`` is an ONNX file, a model directory, or ``default``. Raises ArtifactError for a file
    that no export wrote, and ConfigurationError for one that is not fp32.
    """
    artifact = Model.open(path).artifact("onnxruntime", "fp32")
    refuse_external_data(artifact)
    try:
        model = onnx.load_model_from_string(artifact.data)
    except Exception as problem:  # protobuf's errors differ between its implementations
        raise ArtifactError(f"{artifact.path} is no ONNX file: {problem}") from problem
    core, spec = detach_contract(with_float_weights(model), str(artifact.path))
    if spec.precision != "fp32":
        raise ConfigurationError(
            f"{artifact.path} is {spec.precision} already; only an engine of that precision can be "
            f"built from it: --target trt-{spec.precision}"
        )

    def answers(tensors: npt.NDArray[np.uint8]) -> Floats:
        with Predictor(artifact.path, backend="onnxruntime") as predictor:
            return answers_of(predictor, tensors, "the reference").astype(np.float64)

    return Source(spec.with_provenance(parent_sha256=artifact.sha256), core, answers, None)
