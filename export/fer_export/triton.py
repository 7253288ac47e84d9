"""A model repository for Triton Inference Server: one model, its labels and its configuration.

Needs the ``serve`` extra: the configuration is made, and read back, through Triton's own protobuf.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_edge.artifacts.spec import METADATA_KEY, ModelSpec
from fer_edge.errors import ArtifactError, ConfigurationError
from fer_edge.system.dependencies import requires
from fer_edge.system.files import new_folder

with requires("serve"):
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2 as triton

__all__ = [
    "CONFIG",
    "LABELS_FILE",
    "ServingOptions",
    "check_model",
    "read_config",
    "write_repository",
]

CONFIG, LABELS_FILE = "config.pbtxt", "labels.txt"
_VERSION = "1"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_OUTPUTS = ("logits", "probabilities")


@dataclass(frozen=True)
class _Form:
    """How Triton calls a format: its backend, the older word for it, and the files it looks for.

    ``devices`` is what the backend runs on, the first one where nobody chose.
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
    beside it; it is copied. ``force`` replaces a model that is there. Before the model is put in
    place it is checked as ``check_model`` does. Raises ConfigurationError for a name, a file or a
    device that Triton would not take and for a model that exists; ArtifactError for an artifact
    that is missing, does not fit ``spec`` or has a static batch, which Triton could not fill (a
    plan or an IR is not looked into for that).
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
    target = repository / name
    if target.exists() and not force:
        raise ConfigurationError(f"{target} exists; replace it by force, or give another name")
    if target.exists() and not (target / CONFIG).is_file():
        raise ConfigurationError(f"{target} is no model of Triton's, so it is not replaced")
    config = _config(name, form, spec, options or ServingOptions())
    with new_folder(target) as folder:
        version = folder / _VERSION
        version.mkdir()
        shutil.copyfile(artifact, version / form.file)
        for suffix in form.companions:
            shutil.copyfile(artifact.with_suffix(suffix), (version / form.file).with_suffix(suffix))
        (folder / LABELS_FILE).write_text("".join(f"{label}\n" for label in spec.labels))
        (folder / CONFIG).write_text(text_format.MessageToString(config))
        check_model(folder, name)
    return target


def read_config(folder: Path) -> Any:
    """Parse a model's configuration, a ``ModelConfig`` message; ArtifactError if it is none."""
    path = folder / CONFIG
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), triton.ModelConfig())
    except (OSError, UnicodeDecodeError, text_format.ParseError) as problem:
        raise ArtifactError(f"{path} is no configuration of Triton's: {problem}") from problem


def check_model(folder: Path, name: str | None = None) -> None:
    """Hold a model's folder against what Triton demands and what a client of ours expects.

    ``name`` is what Triton will see, by default the folder's own. Checked are the configuration,
    the files that it needs, the labels, and for ONNX the graph's inputs and outputs. Raises
    ArtifactError with all that is wrong.
    """
    config = read_config(folder)
    defects = [*_config_defects(config, name or folder.name), *_file_defects(folder, config)]
    model = folder / _VERSION / "model.onnx"
    if config.backend == "onnxruntime" and model.is_file():
        defects += _graph_defects(model, config)
    if defects:
        raise ArtifactError(f"Triton could not serve {folder}: {'; '.join(defects)}")


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


def _config_defects(config: Any, name: str) -> list[str]:
    found = []
    if config.name != name:
        found.append(f"it is called {config.name!r} inside, and its folder {name!r}")
    forms = {form.backend: form for form in _FORMS.values()}
    if config.backend not in forms:
        found.append(f"backend {config.backend!r} is none of {', '.join(forms)}")
    elif config.platform != forms[config.backend].platform:
        found.append(f"platform {config.platform!r} does not belong to {config.backend}")
    if config.max_batch_size < 1:
        found.append("without a max_batch_size nothing is batched")
    sizes = list(config.dynamic_batching.preferred_batch_size)
    if not config.HasField("dynamic_batching"):
        found.append("dynamic_batching is not on")
    elif any(not 1 <= size <= config.max_batch_size for size in sizes):
        found.append(f"preferred batch sizes {sizes} exceed max_batch_size {config.max_batch_size}")
    spec = _spec_of(config)
    if spec is None:
        return [*found, f"parameter {METADATA_KEY} holds no model spec"]
    classes = [len(spec.labels)]
    inputs = [(i.name, i.data_type, list(i.dims)) for i in config.input]
    if inputs != [("crop", triton.TYPE_UINT8, list(spec.input.shape))]:
        found.append(f"its input should be crop, uint8 {spec.input.shape}, not {inputs}")
    outputs = [(o.name, o.data_type, list(o.dims)) for o in config.output]
    if outputs != [(name, triton.TYPE_FP32, classes) for name in _OUTPUTS]:
        found.append(f"its outputs should be {', '.join(_OUTPUTS)}, fp32 {classes}, not {outputs}")
    return found


def _file_defects(folder: Path, config: Any) -> list[str]:
    form = next((form for form in _FORMS.values() if form.backend == config.backend), None)
    files = [form.file, *(f"model{suffix}" for suffix in form.companions)] if form else []
    found = [
        f"{_VERSION}/{file} is missing"
        for file in files
        if not (folder / _VERSION / file).is_file()
    ]
    spec = _spec_of(config)
    labelled = {output.name: output.label_filename for output in config.output}
    name = labelled.get("probabilities") or ""
    path = folder / name
    if not name:
        found.append("probabilities have no labels")
    elif Path(name).name != name:
        found.append(f"the labels are in {name}, outside the model's folder")
    elif not os.path.isfile(path):
        found.append(f"{name} is missing")
    elif spec and tuple(path.read_text(encoding="utf-8", errors="replace").split()) != spec.labels:
        found.append(f"{name} does not list {', '.join(spec.labels)}, one a line")
    return found


def _graph_defects(model: Path, config: Any) -> list[str]:
    """What a graph says of itself against what the configuration says of it."""
    import onnx

    types = {onnx.TensorProto.UINT8: triton.TYPE_UINT8, onnx.TensorProto.FLOAT: triton.TYPE_FP32}
    try:
        loaded = onnx.load(model, load_external_data=False)
    except Exception as problem:  # protobuf's DecodeError, which onnx does not name
        return [f"{model.name} is no ONNX: {problem}"]
    found, graph = list[str](), loaded.graph
    embedded = {entry.key: entry.value for entry in loaded.metadata_props}
    if embedded.get(METADATA_KEY) != config.parameters[METADATA_KEY].string_value:
        found.append(f"the spec in {model.name} is another one than the configuration's")
    for kind, given, wanted in (
        ("input", graph.input, config.input),
        ("output", graph.output, config.output),
    ):
        has = [(v.name, types.get(v.type.tensor_type.elem_type), _dims(v)[1:]) for v in given]
        if has != [(w.name, w.data_type, list(w.dims)) for w in wanted]:
            found.append(
                f"the {kind}s of {model.name} are {[name for name, *_ in has]}, or of "
                "another type or shape than configured"
            )
    for value in graph.input:
        batch = next(iter(_dims(value)), -1)
        if batch > 0:
            found.append(
                f"{model.name} has a static batch of {batch}, and Triton makes batches "
                "of every size; export it with a dynamic batch"
            )
    return found


def _dims(value: Any) -> list[int]:
    """Dimensions, -1 where they are dynamic."""
    return [
        d.dim_value if d.HasField("dim_value") else -1 for d in value.type.tensor_type.shape.dim
    ]


def _spec_of(config: Any) -> ModelSpec | None:
    try:
        return ModelSpec.from_json(config.parameters[METADATA_KEY].string_value)
    except ArtifactError:
        return None
