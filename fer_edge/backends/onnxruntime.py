"""ONNX Runtime."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from fer_edge.artifact import Artifact
from fer_edge.backends.base import Backend, BackendOptions, EngineInfo
from fer_edge.errors import ArtifactError, ClosedError, ConfigurationError, EngineError
from fer_edge.spec import METADATA_KEY, ModelSpec

__all__ = ["OnnxRuntimeBackend"]


_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_INFERENCE_PRECISION = {"fp32": "fp32", "int8": "int8"}  # fp16 graphs may be widened: unknown
_OUTPUTS = ["logits", "probabilities"]
_ERRORS_ONLY = 3


class OnnxRuntimeBackend(Backend):
    """An ``InferenceSession``; it is thread-safe, so no pool and no lock."""

    def __init__(self, artifact: Artifact, options: BackendOptions) -> None:
        provider = _provider(options.device)
        settings = ort.SessionOptions()
        settings.log_severity_level = _ERRORS_ONLY
        if options.threads is not None:
            settings.intra_op_num_threads = options.threads
        try:
            session = ort.InferenceSession(artifact.data, settings, providers=[provider])
        except Exception as problem:  # onnxruntime's errors share no base of their own
            raise ArtifactError(
                f"ONNX Runtime cannot load {artifact.path}: {_first_line(problem)}"
            ) from problem
        if session.get_providers()[0] != provider:
            raise EngineError(
                f"ONNX Runtime did not load {provider} and fell back to "
                f"{session.get_providers()[0]}; see its log for the missing library"
            )
        self.spec = _spec(session, artifact)
        self.engine = EngineInfo(
            name="onnxruntime",
            version=ort.__version__,
            provider=provider,
            inference_precision=_INFERENCE_PRECISION.get(self.spec.precision, "unknown"),
            threads=options.threads,
        )
        self._session: ort.InferenceSession | None = session

    def infer(
        self, batch: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Run one batch."""
        session = self._session
        if session is None:
            raise ClosedError("this ONNX Runtime session is closed")
        logits, probabilities = session.run(_OUTPUTS, {"crop": batch})
        return logits, probabilities

    def close(self) -> None:
        """Drop the session; it ends with the last call that is under way."""
        self._session = None


def _provider(device: str) -> str:
    wanted = "cpu" if device == "auto" else device
    if wanted not in _PROVIDERS:
        raise ConfigurationError(
            f"ONNX Runtime has no device {device!r}; there are auto, {', '.join(_PROVIDERS)}"
        )
    available = ort.get_available_providers()
    if _PROVIDERS[wanted] not in available:
        raise EngineError(
            f"this ONNX Runtime has no {_PROVIDERS[wanted]}, only {', '.join(available)}. "
            "For CUDA: pip uninstall onnxruntime && pip install onnxruntime-gpu"
        )
    return _PROVIDERS[wanted]


def _spec(session: ort.InferenceSession, artifact: Artifact) -> ModelSpec:
    """Read the embedded spec and hold the graph's inputs and outputs against it."""
    metadata = session.get_modelmeta().custom_metadata_map
    if METADATA_KEY not in metadata:
        raise ArtifactError(
            f"{artifact.path} carries no model spec; export it with fer-export, which adds one"
        )
    spec = ModelSpec.from_json(metadata[METADATA_KEY], where=f"the spec in {artifact.path}")
    inputs = [(i.name, i.type, tuple(i.shape[1:])) for i in session.get_inputs()]
    outputs = [(o.name, o.type, tuple(o.shape[1:])) for o in session.get_outputs()]
    classes = (len(spec.labels),)
    expected_inputs = [("crop", "tensor(uint8)", spec.input.shape)]
    expected_outputs = [(name, "tensor(float)", classes) for name in _OUTPUTS]
    if inputs != expected_inputs or outputs != expected_outputs:
        raise ArtifactError(
            f"{artifact.path} does not fit its own spec: it maps {inputs} to {outputs}, "
            f"expected {expected_inputs} to {expected_outputs}"
        )
    return spec


def _first_line(problem: Exception) -> str:
    return str(problem).strip().splitlines()[0] if str(problem).strip() else repr(problem)
