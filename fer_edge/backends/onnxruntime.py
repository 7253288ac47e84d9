"""ONNX Runtime."""

from __future__ import annotations

from typing import Any

from fer_edge.artifacts.artifact import Artifact
from fer_edge.artifacts.spec import METADATA_KEY, ModelSpec
from fer_edge.backends.base import Answers, Backend, BackendOptions, Crops, EngineInfo, one_line
from fer_edge.backends.contract import INPUT, OUTPUTS, Port, contract_spec, padded, static_batch
from fer_edge.backends.external_data import refuse_external_data
from fer_edge.backends.onnxruntime_devices import CPU, CUDA, LARGEST_BATCH, Device, device_named
from fer_edge.backends.onnxruntime_engine import ort, quiet_options, quiet_session
from fer_edge.errors import (
    ArtifactError,
    ClosedError,
    ConfigurationError,
    EngineError,
    FerEdgeError,
)

_COMPUTES_IN = {
    (CPU, "fp32"): "fp32",
    (CPU, "int8"): "int8",
    (CUDA, "fp32"): "fp32",
    (CUDA, "fp16"): "fp16",
}
"""What is computed in, by provider and artifact. All others are unknown: ONNX Runtime may widen
types, and TensorRT chooses them.
"""

_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}
_HEAVY = {"Conv", "Gemm", "MatMul", "FusedConv", "QLinearConv", "QLinearMatMul", "ConvInteger"}
_OUTPUTS = list(OUTPUTS)
_NATIVE = b"EPContext"
"""The operator that holds the compiled engine of an execution provider."""


class OnnxRuntimeBackend(Backend):
    """An ``InferenceSession``. It is thread-safe, so there is neither a pool nor a lock.

    Devices are ``cpu``, ``cuda``, ``tensorrt`` and ``tensorrt-rtx`` (NVIDIA's plugin); ``cuda:1``
    is the second GPU and ``auto`` is the CPU. A provider that does not load, or that leaves
    convolutions to another provider, is an error. With ``goal="throughput"`` each call uses one
    thread, and ``threads`` is the number of calls that are worth running at once.

    Inputs are passed to ``run``. Binding them instead took the same time on the CPU (at best 0.43
    ms for the packaged model), since a crop is too small for its copy to matter.
    """

    def __init__(self, artifact: Artifact, options: BackendOptions) -> None:
        options.refuse("ONNX Runtime", "compiled")
        device = device_named(options.device)
        refuse_external_data(artifact)
        if _NATIVE in artifact.data:
            raise ArtifactError(
                f"{artifact.path} holds a compiled engine ({_NATIVE.decode()}), which is native "
                "code; export the model without it"
            )
        abreast = options.goal == "throughput"
        threads = options.cpu_threads()
        settings = quiet_options(1 if abreast else threads, spinning=options.spinning)
        session = _open(artifact, device, settings)
        _check_provider(session, device.provider)
        self.spec, self._batch = _contract(session, artifact)
        computes_in = _COMPUTES_IN.get((device.provider, self.spec.precision), "unknown")
        _check_precision(options, self.spec, computes_in)
        self.engine = EngineInfo(
            name="onnxruntime",
            version=ort.__version__,
            provider=device.provider,
            inference_precision=computes_in,
            threads=threads,
            concurrency=threads if abreast else 1,
            max_batch=self._batch or (LARGEST_BATCH if device.compiles else None),
        )
        self._session: ort.InferenceSession | None = session

    def infer(self, batch: Crops) -> Answers:
        """Run one batch."""
        session = self._session
        if session is None:
            raise ClosedError("this ONNX Runtime session is closed")
        given = padded(batch, self._batch)
        try:
            logits, probabilities = session.run(_OUTPUTS, {INPUT: given})
        except Exception as problem:  # onnxruntime's errors share no base of their own
            raise EngineError(
                f"ONNX Runtime failed on crops of shape {batch.shape}: {one_line(problem)}"
            ) from problem
        return logits[: len(batch)], probabilities[: len(batch)]

    def close(self) -> None:
        """Drop the session. Calls that are under way finish first."""
        self._session = None


def _open(artifact: Artifact, device: Device, settings: Any) -> ort.InferenceSession:
    options: dict[str, str] = {}
    try:
        if device.provider != CPU:
            # releases that do not know this entry ignore it
            settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
            spec, batch = _contract(quiet_session(artifact.data, 1), artifact)
            options = device.options(spec.precision, spec.input.shape if batch is None else None)
        return device.session(artifact.data, settings, options)
    except FerEdgeError:
        raise
    except Exception as problem:  # onnxruntime's errors share no base of their own
        failed = ArtifactError if device.provider == CPU else EngineError
        raise failed(
            f"ONNX Runtime cannot load {artifact.path} on {device.provider}: {one_line(problem)}"
        ) from problem


def _check_provider(session: ort.InferenceSession, provider: str) -> None:
    loaded = session.get_providers()
    if loaded[0] != provider:
        raise EngineError(
            f"ONNX Runtime did not load {provider} and fell back to {loaded[0]}; see its log for "
            "the missing library"
        )
    if provider == CPU or not hasattr(session, "get_provider_graph_assignment_info"):
        return
    left = {
        (node.op_type, part.ep_name)
        for part in session.get_provider_graph_assignment_info()
        if part.ep_name != provider
        for node in part.get_nodes()
        if node.op_type in _HEAVY
    }
    if left:
        told = ", ".join(f"{op} to {other}" for op, other in sorted(left))
        raise EngineError(
            f"{provider} leaves {told}; use that one's device, or an artifact of another precision"
        )


def _contract(session: ort.InferenceSession, artifact: Artifact) -> tuple[ModelSpec, int | None]:
    """Read the spec, and the batch that the graph is fixed to."""
    try:
        metadata = session.get_modelmeta().custom_metadata_map
        inputs, outputs = _ports(session.get_inputs()), _ports(session.get_outputs())
    except UnicodeDecodeError as problem:
        raise ArtifactError(f"{artifact.path} is damaged: its names are not UTF-8") from problem
    spec = contract_spec(metadata.get(METADATA_KEY), artifact, inputs, outputs)
    return spec, static_batch(inputs)


def _ports(arguments: list[Any]) -> list[Port]:
    return [Port(a.name, _DTYPES.get(a.type, a.type), tuple(a.shape)) for a in arguments]


def _check_precision(options: BackendOptions, spec: ModelSpec, computes_in: str) -> None:
    wanted = options.inference_precision
    # the parts of an INT8 graph that are not quantised are fp32
    if wanted is None or wanted == computes_in or (wanted, computes_in) == ("fp32", "int8"):
        return
    raise ConfigurationError(
        f"ONNX Runtime computes as the graph says, here in {computes_in}, and not in {wanted}; "
        f"export an artifact of that precision, or use backend='openvino' (this one is "
        f"{spec.precision})"
    )
