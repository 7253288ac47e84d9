"""Where an export starts: a checkpoint, or an fp32 ONNX of ours.

Either provides the float core, and the answers that every artifact is compared with.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
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

Floats = npt.NDArray[np.float64]


class Source:
    """A float network, and the reference that artifacts are compared with.

    ``answers`` maps crops, uint8 ``(N, H, W, C)``, to the reference's probabilities ``(N, K)``. A
    checkpoint answers until its ``core`` is made, which frees its weights. ``checkpoint`` is None
    where the network comes from an ONNX.
    """

    def __init__(
        self,
        spec: ModelSpec,
        make_core: Callable[[], onnx.ModelProto],
        answers: Callable[[npt.NDArray[np.uint8]], Floats],
        checkpoint: Path | None = None,
    ) -> None:
        self.spec, self.answers, self.checkpoint = spec, answers, checkpoint
        self._make_core = make_core

    @cached_property
    def core(self) -> onnx.ModelProto:
        """The network from ``normalized`` to ``logits`` (see ``contract_nodes``)."""
        return self._make_core()

    def release(self) -> None:
        """Free the core, which takes as much memory as the weights; a checkpoint's is then gone."""
        self.__dict__.pop("core", None)


def from_checkpoint(path: Path) -> Source:
    """Start from a checkpoint; the reference is its torch network.

    Needs torch. Raises ArtifactError for a file that is no checkpoint or does not fit its spec.
    """
    import torch

    from fer_edge.torch_model import checkpoint
    from fer_edge.torch_model.network import Normalized
    from fer_export.core import export_core
    from fer_export.folding import folded

    network, spec = checkpoint.load(path)

    @torch.no_grad()
    def answers(tensors: npt.NDArray[np.uint8]) -> Floats:
        model = Normalized(network, spec).eval()
        logits = [
            model(torch.from_numpy(part).permute(0, 3, 1, 2)).numpy()
            for part in batches(tensors, "the network")
        ]
        return softmax(np.concatenate(logits), spec.temperature)

    def core() -> onnx.ModelProto:
        whole = folded(network)
        traced = export_core(whole, spec)
        for module in (network, whole):
            for tensor in (*module.parameters(), *module.buffers()):
                tensor.data = torch.empty(0)  # torch keeps what it traced until the process ends
        return traced

    return Source(spec.with_provenance(parent_sha256=sha256_of(path)), core, answers, path)


def from_onnx(path: str | Path) -> Source:
    """Take the core out of an fp32 artifact of ours; the reference is that artifact itself.

    ``path`` is an ONNX file, a model directory, or ``default``. Raises ArtifactError for a file
    that no export wrote, and ConfigurationError for one that is not fp32.
    """
    _, spec, file = _read_core(path)

    def answers(tensors: npt.NDArray[np.uint8]) -> Floats:
        with Predictor(file, backend="onnxruntime") as predictor:
            return answers_of(predictor, tensors, "the reference").astype(np.float64)

    return Source(spec, lambda: _read_core(path)[0], answers)


def _read_core(path: str | Path) -> tuple[onnx.ModelProto, ModelSpec, Path]:
    artifact = Model.open(path).artifact("onnxruntime", "fp32")
    refuse_external_data(artifact)
    try:
        model = onnx.load_model_from_string(artifact.data)
    except Exception as problem:  # protobuf's errors differ between its implementations
        raise ArtifactError(f"{artifact.path} is no ONNX file: {problem}") from problem
    core, spec = detach_contract(with_float_weights(model), str(artifact.path))
    if spec.precision != "fp32":
        raise ConfigurationError(
            f"{artifact.path} is {spec.precision} already; give an fp32 model, or build an engine "
            f"from it: --target trt-{spec.precision}"
        )
    return core, spec.with_provenance(parent_sha256=artifact.sha256), artifact.path
