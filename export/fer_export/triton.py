"""A model repository for Triton Inference Server: one model, its labels and its configuration.

Needs the ``triton`` extra: the configuration is made through Triton's own protobuf definition.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_edge.artifacts.plan import PlanSidecar, sidecar_path
from fer_edge.artifacts.spec import METADATA_KEY, ModelSpec
from fer_edge.errors import ArtifactError, ConfigurationError
from fer_edge.predictor import Predictor
from fer_edge.system.dependencies import requires
from fer_edge.system.files import new_folder

with requires("triton"):
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2 as triton

CONFIG, LABELS_FILE = "config.pbtxt", "labels.txt"
_VERSION = "1"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_PREFERRED = (8, 16, 32)

_DEVICES = ("auto", "cpu", "gpu")
_FORMS = {
    ".onnx": ("onnxruntime", "onnxruntime_onnx", "model.onnx", _DEVICES),
    ".plan": ("tensorrt", "tensorrt_plan", "model.plan", ("gpu",)),
    ".engine": ("tensorrt", "tensorrt_plan", "model.plan", ("gpu",)),
    ".xml": ("openvino", "", "model.xml", ("cpu", "gpu")),
}
"""By suffix: Triton's backend and platform, the file that it looks for, and the devices that the
backend runs on, its default first."""


@dataclass(frozen=True)
class ServingOptions:
    """How Triton runs a model.

    A request waits up to ``queue_delay_us`` for others, to be run together with them: at once when
    they are 8, 16 or 32, and never more than ``max_batch_size``. ``device`` is ``auto``, ``cpu`` or
    ``gpu``.
    """

    max_batch_size: int = 64
    queue_delay_us: int = 2000
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.max_batch_size < 1:
            raise ConfigurationError(f"max_batch_size is at least 1, not {self.max_batch_size}")
        if self.queue_delay_us < 0:
            raise ConfigurationError(f"queue_delay_us is 0 or more, not {self.queue_delay_us}")
        if self.device not in _DEVICES:
            raise ConfigurationError(
                f"unknown device {self.device!r}; there are {', '.join(_DEVICES)}"
            )


def write_repository(
    repository: Path,
    name: str,
    artifact: Path,
    spec: ModelSpec,
    options: ServingOptions = ServingOptions(),
    *,
    force: bool = False,
) -> Path:
    """Write ``repository/name`` in one step and return it.

    ``artifact`` is an ``.onnx``, a plan (``.plan``, ``.engine``) or an ``.xml`` with its ``.bin``
    in the same folder; it is copied. ``force`` replaces an existing model. Raises
    ConfigurationError for a name, a file or a device that Triton would not accept and for a model
    that exists; ArtifactError for an artifact that is missing, does not fit ``spec`` or has a
    static batch, which Triton could not fill (plans and IRs are not checked for that).
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"a model's name is letters, digits, '.', '_' and '-', begins with a letter or digit "
            f"and has at most 128, not {name!r}"
        )
    if artifact.suffix not in _FORMS:
        raise ConfigurationError(f"Triton takes {', '.join(_FORMS)} of ours, not {artifact.name}")
    sources = [artifact, *([artifact.with_suffix(".bin")] if artifact.suffix == ".xml" else [])]
    for source in sources:
        if not source.is_file():
            raise ArtifactError(f"there is no {source}; export it first")
    if artifact.suffix == ".onnx":
        _check_artifact(artifact, spec)
    target = repository / name
    if target.exists() and not force:
        raise ConfigurationError(f"{target} exists; give force=True to replace it, or another name")
    if target.exists() and not (target / CONFIG).is_file():
        raise ConfigurationError(f"{target} is not a model of Triton's, so it is not replaced")
    config = _config(name, artifact, spec, options)
    with new_folder(target) as folder:
        served = folder / _VERSION / _FORMS[artifact.suffix][2]
        served.parent.mkdir()
        for source in sources:
            suffix = source.suffix if source != artifact else served.suffix
            shutil.copyfile(source, served.with_suffix(suffix))
        (folder / LABELS_FILE).write_text("".join(f"{label}\n" for label in spec.labels))
        (folder / CONFIG).write_text(text_format.MessageToString(config))
    return target


def _largest_batch(artifact: Path, options: ServingOptions) -> int:
    """The largest batch: that of the options, or less where a plan was built for less."""
    sidecar = sidecar_path(artifact)
    if artifact.suffix != ".plan" or not sidecar.is_file():
        return options.max_batch_size
    built_for = PlanSidecar.from_json(sidecar.read_bytes(), str(sidecar)).max_batch
    return min(options.max_batch_size, built_for)


def _config(name: str, artifact: Path, spec: ModelSpec, options: ServingOptions) -> Any:
    backend, platform, _, devices = _FORMS[artifact.suffix]
    device = devices[0] if options.device == "auto" else options.device
    if device not in devices:
        raise ConfigurationError(
            f"Triton's {backend} runs on {', '.join(devices)}, not on {device}"
        )
    kind = triton.ModelInstanceGroup.Kind.Value(f"KIND_{device.upper()}")
    largest = _largest_batch(artifact, options)
    crop = {"data_type": triton.TYPE_UINT8, "dims": spec.input.shape}
    answers = {"data_type": triton.TYPE_FP32, "dims": [len(spec.labels)]}
    warm = triton.ModelWarmup.Input(zero_data=True, **crop)
    return triton.ModelConfig(
        name=name,
        backend=backend,
        platform=platform,
        max_batch_size=largest,
        input=[triton.ModelInput(name="crop", **crop)],
        output=[
            triton.ModelOutput(name="logits", **answers),
            triton.ModelOutput(name="probabilities", label_filename=LABELS_FILE, **answers),
        ],
        dynamic_batching=triton.ModelDynamicBatching(
            preferred_batch_size=[size for size in _PREFERRED if size <= largest],
            max_queue_delay_microseconds=options.queue_delay_us,
        ),
        instance_group=[triton.ModelInstanceGroup(count=1, kind=kind)],
        parameters={METADATA_KEY: triton.ModelParameter(string_value=spec.to_json())},
        model_warmup=[triton.ModelWarmup(name="one_crop", batch_size=1, inputs={"crop": warm})],
    )


def _check_artifact(model: Path, spec: ModelSpec) -> None:
    """Raise ArtifactError for an ONNX that carries another spec, or has a static batch."""
    with Predictor(model, backend="onnxruntime", device="cpu") as fer:
        carried, batch = fer.info.spec, fer.info.max_batch
    if carried != spec:
        raise ArtifactError(
            f"the spec in {model} is not the one given; give the spec that the file carries"
        )
    if batch is not None:
        raise ArtifactError(
            f"{model} has a static batch of {batch}, and Triton makes batches of any size; export "
            "it without --batch"
        )
