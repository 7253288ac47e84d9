"""A model repository for Triton Inference Server: one model, its labels and its configuration.

Needs the ``triton`` extra: the configuration is made through Triton's own protobuf definition.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fer_edge.artifacts.plan import PlanSidecar, sidecar_path
from fer_edge.artifacts.spec import METADATA_KEY, ModelSpec
from fer_edge.errors import ArtifactError, ConfigurationError
from fer_edge.system.dependencies import requires
from fer_edge.system.files import new_folder

with requires("triton"):
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2 as triton

__all__ = [
    "CONFIG",
    "LABELS_FILE",
    "ServingOptions",
    "write_repository",
]

CONFIG, LABELS_FILE = "config.pbtxt", "labels.txt"
_VERSION = "1"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_OUTPUTS = ("logits", "probabilities")


@dataclass(frozen=True)
class _Form:
    """What Triton calls a format: its backend, its platform, and the files it looks for.

    ``devices`` is what the backend runs on; the first one is the default.
    """

    backend: str
    platform: str
    file: str
    devices: tuple[str, ...]
    companions: tuple[str, ...] = ()


_FORMS = {
    ".onnx": _Form("onnxruntime", "onnxruntime_onnx", "model.onnx", ("auto", "cpu", "gpu")),
    ".plan": _Form("tensorrt", "tensorrt_plan", "model.plan", ("gpu",)),
    ".engine": _Form("tensorrt", "tensorrt_plan", "model.plan", ("gpu",)),
    ".xml": _Form("openvino", "", "model.xml", ("cpu", "gpu"), (".bin",)),
}

_KINDS = {
    "auto": triton.ModelInstanceGroup.KIND_AUTO,
    "cpu": triton.ModelInstanceGroup.KIND_CPU,
    "gpu": triton.ModelInstanceGroup.KIND_GPU,
}


@dataclass(frozen=True)
class ServingOptions:
    """How Triton runs a model.

    Requests wait up to ``queue_delay_us`` for others, to be run together: at once when one of
    ``preferred_batch_sizes`` is reached (none: as many as there are), never more than
    ``max_batch_size``. ``instances`` copies run side by side, on each GPU or on the CPU.
    """

    max_batch_size: int = 64
    preferred_batch_sizes: tuple[int, ...] = (8, 16, 32)
    queue_delay_us: int = 2000
    instances: int = 1
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.max_batch_size < 1 or self.instances < 1:
            raise ConfigurationError(
                "max_batch_size and instances are at least 1, not "
                f"{self.max_batch_size} and {self.instances}"
            )
        if self.queue_delay_us < 0:
            raise ConfigurationError(f"queue_delay_us is 0 or more, not {self.queue_delay_us}")
        sizes = self.preferred_batch_sizes
        if not all(1 <= size <= self.max_batch_size for size in sizes):
            raise ConfigurationError(
                f"preferred batch sizes lie between 1 and max_batch_size, {self.max_batch_size}, "
                f"not {', '.join(map(str, sizes))}"
            )
        if self.device not in _KINDS:
            raise ConfigurationError(
                f"unknown device {self.device!r}; there are {', '.join(_KINDS)}"
            )


def write_repository(
    repository: Path,
    name: str,
    artifact: Path,
    spec: ModelSpec,
    options: ServingOptions | None = None,
    *,
    force: bool = False,
) -> Path:
    """Write ``repository/name`` in one step and return it.

    ``artifact`` is an ``.onnx``, a plan (``.plan``, ``.engine``) or an ``.xml`` with its ``.bin``
    beside it; it is copied. ``force`` replaces a model that is there. Raises ConfigurationError for
    a name, a file or a device that Triton would not take and for a model that exists; ArtifactError
    for an artifact that is missing, does not fit ``spec`` or has a static batch, which Triton could
    not fill (a plan or an IR is not checked for that).
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"a model's name is letters, digits, '.', '_' and '-', begins with a letter or digit "
            f"and has at most 128, not {name!r}"
        )
    form = _form(artifact)
    sources = [artifact, *(artifact.with_suffix(suffix) for suffix in form.companions)]
    for source in sources:
        if not source.is_file():
            raise ArtifactError(f"there is no {source}; export it first")
    if artifact.suffix == ".onnx":
        _check_graph(artifact, spec)
    target = repository / name
    if target.exists() and not force:
        raise ConfigurationError(f"{target} exists; replace it by force, or give another name")
    if target.exists() and not (target / CONFIG).is_file():
        raise ConfigurationError(f"{target} is not a model of Triton's, so it is not replaced")
    config = _config(name, form, spec, _within_profile(artifact, options or ServingOptions()))
    with new_folder(target) as folder:
        version = folder / _VERSION
        version.mkdir()
        shutil.copyfile(artifact, version / form.file)
        for suffix in form.companions:
            shutil.copyfile(artifact.with_suffix(suffix), (version / form.file).with_suffix(suffix))
        (folder / LABELS_FILE).write_text("".join(f"{label}\n" for label in spec.labels))
        (folder / CONFIG).write_text(text_format.MessageToString(config))
    return target


def _within_profile(artifact: Path, options: ServingOptions) -> ServingOptions:
    """Bound the batches by those that a plan was built for, as its sidecar tells."""
    sidecar = sidecar_path(artifact)
    if artifact.suffix != ".plan" or not sidecar.is_file():
        return options
    most = PlanSidecar.from_json(sidecar.read_bytes(), str(sidecar)).max_batch
    return replace(
        options,
        max_batch_size=min(options.max_batch_size, most),
        preferred_batch_sizes=tuple(n for n in options.preferred_batch_sizes if n <= most),
    )


def _form(artifact: Path) -> _Form:
    form = _FORMS.get(artifact.suffix)
    if form is None:
        raise ConfigurationError(f"Triton takes {', '.join(_FORMS)} of ours, not {artifact.name}")
    return form


def _kind(form: _Form, device: str) -> int:
    chosen = form.devices[0] if device == "auto" else device
    if chosen not in form.devices:
        raise ConfigurationError(
            f"Triton's {form.backend} runs on {', '.join(form.devices)}, not on {device}"
        )
    return int(_KINDS[chosen])


def _config(name: str, form: _Form, spec: ModelSpec, options: ServingOptions) -> Any:
    classes = [len(spec.labels)]
    output = triton.ModelOutput
    warmup = triton.ModelWarmup(
        name="one_crop",
        batch_size=1,
        inputs={
            "crop": triton.ModelWarmup.Input(
                data_type=triton.TYPE_UINT8, dims=spec.input.shape, zero_data=True
            )
        },
    )
    return triton.ModelConfig(
        name=name,
        backend=form.backend,
        platform=form.platform,
        max_batch_size=options.max_batch_size,
        input=[triton.ModelInput(name="crop", data_type=triton.TYPE_UINT8, dims=spec.input.shape)],
        output=[
            output(name="logits", data_type=triton.TYPE_FP32, dims=classes),
            output(
                name="probabilities",
                data_type=triton.TYPE_FP32,
                dims=classes,
                label_filename=LABELS_FILE,
            ),
        ],
        dynamic_batching=triton.ModelDynamicBatching(
            preferred_batch_size=options.preferred_batch_sizes,
            max_queue_delay_microseconds=options.queue_delay_us,
        ),
        instance_group=[
            triton.ModelInstanceGroup(count=options.instances, kind=_kind(form, options.device))
        ],
        parameters={METADATA_KEY: triton.ModelParameter(string_value=spec.to_json())},
        model_warmup=[warmup],
    )


def _check_graph(model: Path, spec: ModelSpec) -> None:
    """Refuse an ONNX that is another model than ``spec`` says, or has a static batch."""
    import onnx

    try:
        graph = onnx.load(model, load_external_data=False)
    except Exception as problem:  # protobuf's DecodeError, which onnx does not name
        raise ArtifactError(f"{model} is not an ONNX file: {problem}") from problem
    embedded = {entry.key: entry.value for entry in graph.metadata_props}
    if METADATA_KEY not in embedded or ModelSpec.from_json(embedded[METADATA_KEY]) != spec:
        raise ArtifactError(
            f"the spec in {model} is not the one given; give the spec that the file carries"
        )
    batch = graph.graph.input[0].type.tensor_type.shape.dim[0]
    if batch.HasField("dim_value"):
        raise ArtifactError(
            f"{model} has a static batch of {batch.dim_value}, and Triton makes batches of every "
            "size; export it without --batch"
        )
