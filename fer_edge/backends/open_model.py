"""Opens a model with a backend, and records what was chosen."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from fer_edge.artifacts.artifact import Artifact
from fer_edge.artifacts.model import DEFAULT_MODEL, Model
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.backends import Backend, BackendOptions, backend_class
from fer_edge.backends.choose_backend import choose_backend
from fer_edge.errors import ConfigurationError


@dataclass(frozen=True)
class PredictorInfo:
    """What really runs, and in ``reason`` why this backend was chosen.

    ``sha256`` is the hash of ``artifact``; both are None for a caller's own backend. ``provider``
    is the engine's own name for where it runs, ``precision`` that of the artifact, and
    ``inference_precision`` what the engine computes in. ``threads`` is None where the engine does
    not say. ``concurrency`` is how many calls are worth running side by side. ``max_batch`` is the
    most crops of one call, None without a limit.
    """

    artifact: Path | None
    sha256: str | None
    backend: str
    reason: str
    version: str
    device: str
    provider: str
    precision: str
    inference_precision: str
    threads: int | None
    concurrency: int
    max_batch: int | None
    spec: ModelSpec


_NO_BACKEND = "any"
"""No backend has this name, so it is offered only artifacts that were made for all."""


def open_backend(
    model: str | os.PathLike[str] | Model,
    backend: str | Backend,
    options: BackendOptions,
    *,
    precision: str | None = None,
    spec: ModelSpec | None = None,
) -> tuple[Backend, PredictorInfo]:
    """Choose the backend and the artifact, open the artifact, and describe the result.

    Raises what Predictor's constructor raises.
    """
    if isinstance(backend, Backend):
        if (model, options, spec) != (DEFAULT_MODEL, BackendOptions(), None):
            raise ConfigurationError(
                "an opened backend has its model and options already; leave all of them out"
            )
        _check_precision(backend, precision)
        return backend, _info(backend, None, "the caller's own", options.device)
    if spec is not None and not isinstance(spec, ModelSpec):
        raise ConfigurationError(
            f"spec should be a ModelSpec, not {type(spec).__name__}; ModelSpec.from_json makes one "
            "of JSON text"
        )
    found = Model.open(model, spec=spec)
    choice = choose_backend(backend, found, precision, options)
    if options.threads is None and options.goal == "latency":  # tuning measures latency
        options = replace(options, threads=choice.threads)
    artifact = _artifact(found, choice.name, options.device, precision)
    opened = backend_class(choice.name)(artifact, options)
    try:
        _check_precision(opened, precision)
    except ConfigurationError:
        opened.close()
        raise
    return opened, _info(opened, artifact, choice.reason, options.device)


def _artifact(found: Model, backend: str, device: str, precision: str | None) -> Artifact:
    """The artifact for a backend, or the one for all where NVIDIA's parser will read it.

    The parser refuses the form of INT8 that is made for ONNX Runtime's own kernels.
    """
    nvidia_parses = backend == "onnxruntime" and device.startswith("tensorrt")
    if nvidia_parses and found.offers(_NO_BACKEND, precision, ("onnx",)):
        return found.artifact(_NO_BACKEND, precision, ("onnx",))
    return found.artifact(backend, precision)


def _check_precision(opened: Backend, wanted: str | None) -> None:
    if wanted is not None and opened.spec.precision != wanted:
        raise ConfigurationError(
            f"the artifact is {opened.spec.precision}, and {wanted} was asked for; leave precision "
            "out, or name another artifact"
        )


def _info(opened: Backend, artifact: Artifact | None, reason: str, device: str) -> PredictorInfo:
    engine = asdict(opened.engine)
    return PredictorInfo(
        artifact=artifact.path if artifact else None,
        sha256=artifact.sha256 if artifact else None,
        backend=engine.pop("name"),
        reason=reason,
        device=device,
        precision=opened.spec.precision,
        spec=opened.spec,
        **engine,
    )
