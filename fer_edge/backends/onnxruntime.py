"""ONNX Runtime."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from fer_edge.artifact import Artifact
from fer_edge.backends.base import Backend, BackendOptions, EngineInfo
from fer_edge.errors import ArtifactError, ClosedError, ConfigurationError, EngineError
from fer_edge.spec import METADATA_KEY, ModelSpec

__all__ = ["OnnxRuntimeBackend"]


_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
# an fp32 artifact computes in fp32: TF32 would be chosen silently
_PROVIDER_OPTIONS = {"CUDAExecutionProvider": {"use_tf32": "0"}}
_INFERENCE_PRECISION = {"fp32": "fp32", "int8": "int8"}  # fp16 graphs may be widened: unknown
_OUTPUTS = ["logits", "probabilities"]
_ERRORS_ONLY = 3
_MAX_REASON = 300


class OnnxRuntimeBackend(Backend):
    """An ``InferenceSession``; it is thread-safe, so no pool and no lock."""

    def __init__(self, artifact: Artifact, options: BackendOptions) -> None:
        provider = _provider(options.device)
        settings = ort.SessionOptions()
        settings.log_severity_level = _ERRORS_ONLY
        # left to itself, ONNX Runtime binds each thread to a core, allowed to us or not
        settings.intra_op_num_threads = threads = options.threads or _usable_cores()
        # idle threads would otherwise keep their cores busy between the frames of a video
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            # with its fallback, a provider that fails is replaced by the CPU's without an error
            session = ort.InferenceSession(
                artifact.data,
                settings,
                providers=[(provider, _PROVIDER_OPTIONS.get(provider, {}))],
                enable_fallback=False,
            )
        except Exception as problem:  # onnxruntime's errors share no base of their own
            raise ArtifactError(
                f"ONNX Runtime cannot load {artifact.path}: {_reason(problem)}"
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
            threads=threads,
        )
        self._session: ort.InferenceSession | None = session

    def infer(
        self, batch: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Run one batch."""
        session = self._session
        if session is None:
            raise ClosedError("this ONNX Runtime session is closed")
        try:
            logits, probabilities = session.run(_OUTPUTS, {"crop": batch})
        except Exception as problem:  # as above
            raise EngineError(
                f"ONNX Runtime failed on crops of shape {batch.shape}: {_reason(problem)}"
            ) from problem
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
    try:
        metadata = session.get_modelmeta().custom_metadata_map
        inputs = [(i.name, i.type, tuple(i.shape[1:])) for i in session.get_inputs()]
        outputs = [(o.name, o.type, tuple(o.shape[1:])) for o in session.get_outputs()]
    except UnicodeDecodeError as problem:
        raise ArtifactError(f"{artifact.path} is damaged: its names are no text") from problem
    if METADATA_KEY not in metadata:
        raise ArtifactError(
            f"{artifact.path} carries no model spec; export it with fer-export, which adds one"
        )
    spec = ModelSpec.from_json(metadata[METADATA_KEY], where=f"the spec in {artifact.path}")
    classes = (len(spec.labels),)
    expected_inputs = [("crop", "tensor(uint8)", spec.input.shape)]
    expected_outputs = [(name, "tensor(float)", classes) for name in _OUTPUTS]
    if inputs != expected_inputs or outputs != expected_outputs:
        raise ArtifactError(
            f"{artifact.path} does not fit its own spec: it maps {inputs} to {outputs}, "
            f"expected {expected_inputs} to {expected_outputs}"
        )
    return spec


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _reason(problem: Exception) -> str:
    return " ".join(str(problem).split())[:_MAX_REASON] or repr(problem)
