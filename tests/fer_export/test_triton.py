"""Triton's model repository: what is written, and what is refused."""

from __future__ import annotations

import builtins
import importlib
import shutil
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest

from fer_edge import LABELS
from fer_edge.artifacts.plan import Gpu, PlanSidecar
from fer_edge.artifacts.spec import InputSpec, ModelSpec
from fer_edge.errors import ArtifactError, ConfigurationError, MissingDependencyError

pytest.importorskip("tritonclient.grpc", reason="no tritonclient; install the extra triton")

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from fer_export import triton
from fer_export.contract_nodes import with_static_batch
from fer_export.triton import CONFIG, ServingOptions, write_repository


@pytest.fixture
def model(tiny_artifact: Path, tiny_spec: ModelSpec, tmp_path: Path) -> Path:
    return write_repository(tmp_path / "repository", "fer", tiny_artifact, tiny_spec)


def config_of(folder: Path) -> Any:
    """Parsed by Triton's own definition, which knows every field by name and type."""
    return text_format.Parse((folder / CONFIG).read_text(), model_config_pb2.ModelConfig())


# --- what is written


def test_the_layout_is_tritons(model: Path, tiny_artifact: Path) -> None:
    files = sorted(str(path.relative_to(model.parent)) for path in model.rglob("*.*"))
    assert files == ["fer/1/model.onnx", "fer/config.pbtxt", "fer/labels.txt"]
    assert (model / "1" / "model.onnx").read_bytes() == tiny_artifact.read_bytes()


def test_the_configuration_tells_what_goes_in_and_comes_out(
    model: Path, tiny_spec: ModelSpec
) -> None:
    config = config_of(model)
    (given,), (warmup,) = config.input, config.model_warmup
    assert (given.name, given.data_type) == ("crop", model_config_pb2.TYPE_UINT8)
    assert list(given.dims) == list(warmup.inputs["crop"].dims) == [48, 48, 1]
    outputs = {output.name: output for output in config.output}
    assert list(outputs) == ["logits", "probabilities"]
    for output in outputs.values():
        assert (list(output.dims), output.data_type) == ([7], model_config_pb2.TYPE_FP32)
    labels = (model / outputs["probabilities"].label_filename).read_text().splitlines()
    assert tuple(labels) == LABELS
    assert ModelSpec.from_json(config.parameters["fer_edge"].string_value) == tiny_spec


def test_requests_are_batched_as_asked(
    tiny_artifact: Path, tiny_spec: ModelSpec, tmp_path: Path
) -> None:
    options = ServingOptions(max_batch_size=24, queue_delay_us=500)
    config = config_of(write_repository(tmp_path, "fer", tiny_artifact, tiny_spec, options))
    assert config.max_batch_size == 24
    assert list(config.dynamic_batching.preferred_batch_size) == [8, 16]
    assert config.dynamic_batching.max_queue_delay_microseconds == 500


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("m.onnx", ("onnxruntime", "onnxruntime_onnx", "KIND_AUTO", ["model.onnx"])),
        ("m.plan", ("tensorrt", "tensorrt_plan", "KIND_GPU", ["model.plan"])),
        ("m.engine", ("tensorrt", "tensorrt_plan", "KIND_GPU", ["model.plan"])),
        ("m.xml", ("openvino", "", "KIND_CPU", ["model.bin", "model.xml"])),
    ],
)
def test_each_format_has_its_backend(
    file: str,
    expected: tuple[str, str, str, list[str]],
    tiny_artifact: Path,
    tiny_spec: ModelSpec,
    tmp_path: Path,
) -> None:
    artifact = tmp_path / file
    shutil.copy(tiny_artifact, artifact)
    artifact.with_suffix(".bin").write_bytes(b"weights")
    folder = write_repository(tmp_path / "repository", "fer", artifact, tiny_spec)
    config = config_of(folder)
    kind = model_config_pb2.ModelInstanceGroup.Kind.Name(config.instance_group[0].kind)
    served = sorted(path.name for path in (folder / "1").iterdir())
    assert (config.backend, config.platform, kind, served) == expected


def test_a_plan_is_asked_for_no_more_than_its_profile_takes(
    tiny_spec: ModelSpec, tmp_path: Path
) -> None:
    plan = tmp_path / "m.plan"
    plan.write_bytes(b"plan")
    gpu = Gpu("Orin", "8.7", 16)
    PlanSidecar(tiny_spec, "0" * 64, "10.3.0", gpu, 1, 4, 20, "fp16").write(plan)
    made = write_repository(tmp_path / "repository", "fer", plan, tiny_spec)
    text = (made / "config.pbtxt").read_text()
    assert "max_batch_size: 20" in text
    assert [size for size in (8, 16, 32) if f"preferred_batch_size: {size}\n" in text] == [8, 16]


def test_a_model_is_served_on_the_cpu_where_asked_and_a_plan_is_not(
    tiny_artifact: Path, tiny_spec: ModelSpec, tmp_path: Path
) -> None:
    options = ServingOptions(device="cpu")
    made = write_repository(tmp_path, "fer", tiny_artifact, tiny_spec, options)
    (group,) = config_of(made).instance_group
    assert group.kind == model_config_pb2.ModelInstanceGroup.KIND_CPU
    (tmp_path / "m.plan").write_bytes(b"plan")
    with pytest.raises(ConfigurationError, match="Triton's tensorrt runs on gpu, not on cpu"):
        write_repository(tmp_path, "plan", tmp_path / "m.plan", tiny_spec, options)


# --- what is refused


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "-x", "ä", "x" * 129, "a\n"])
def test_a_name_that_triton_or_a_url_would_not_take(
    name: str, tiny_artifact: Path, tiny_spec: ModelSpec, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="a model's name is letters"):
        write_repository(tmp_path / "repository", name, tiny_artifact, tiny_spec)
    assert not (tmp_path / "repository").exists()


def test_an_existing_model_is_replaced_by_force_alone(
    model: Path, tiny_artifact: Path, tiny_spec: ModelSpec
) -> None:
    with pytest.raises(ConfigurationError, match="fer exists; give force=True"):
        write_repository(model.parent, "fer", tiny_artifact, tiny_spec)
    options = ServingOptions(queue_delay_us=3)
    write_repository(model.parent, "fer", tiny_artifact, tiny_spec, options, force=True)
    assert config_of(model).dynamic_batching.max_queue_delay_microseconds == 3


def test_force_replaces_nothing_but_a_model(
    tiny_artifact: Path, tiny_spec: ModelSpec, tmp_path: Path
) -> None:
    (tmp_path / "fer").mkdir()
    (tmp_path / "fer" / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigurationError, match="is not a model of Triton's"):
        write_repository(tmp_path, "fer", tiny_artifact, tiny_spec, force=True)
    assert (tmp_path / "fer" / "thesis.tex").exists()


def test_a_static_batch_is_refused_and_nothing_is_written(
    tiny_artifact: Path, tiny_spec: ModelSpec, tmp_path: Path
) -> None:
    onnx.save(with_static_batch(onnx.load(tiny_artifact), 1), tmp_path / "static.onnx")
    with pytest.raises(ArtifactError, match="static batch of 1, and Triton makes batches"):
        write_repository(tmp_path / "repository", "fer", tmp_path / "static.onnx", tiny_spec)
    assert not (tmp_path / "repository").exists()


def test_an_artifact_of_another_input_is_refused(
    tiny_artifact: Path, tiny_spec: ModelSpec, tmp_path: Path
) -> None:
    other = tiny_spec.with_changes(input=InputSpec(64, 64))
    with pytest.raises(ArtifactError, match="is not the one given"):
        write_repository(tmp_path, "fer", tiny_artifact, other)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("m.onnx", "cannot load"),
        ("none.onnx", r"there is no .*none\.onnx; export it first"),
        ("m.xml", r"there is no .*m\.bin"),
        ("best.safetensors", r"Triton takes \.onnx, .* not best\.safetensors"),
    ],
)
def test_a_file_that_triton_could_not_serve_is_refused(
    file: str, message: str, tiny_spec: ModelSpec, tmp_path: Path
) -> None:
    if file != "none.onnx":
        (tmp_path / file).write_bytes(b"no model")
    with pytest.raises((ArtifactError, ConfigurationError), match=message):
        write_repository(tmp_path / "repository", "fer", tmp_path / file, tiny_spec)
    assert not (tmp_path / "repository").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_batch_size": 0}, "at least 1, not 0"),
        ({"queue_delay_us": -1}, "0 or more, not -1"),
        ({"device": "tpu"}, "unknown device 'tpu'; there are auto, cpu, gpu"),
    ],
)
def test_options_that_cannot_be_met(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ServingOptions(**options)


def test_without_tritonclient_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name.startswith("tritonclient"):
            raise ModuleNotFoundError("No module named 'tritonclient'", name="tritonclient")
        return original(name, *rest)

    monkeypatch.delitem(sys.modules, triton.__name__)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingDependencyError, match=r"pip install 'fer-edge\[triton\]'"):
        importlib.import_module("fer_export.triton")
