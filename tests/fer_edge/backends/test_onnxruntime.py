"""The ONNX Runtime backend: what it opens, what it refuses, what it says of itself."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fer_edge import (
    ArtifactError,
    ConfigurationError,
    EngineError,
    InputError,
    ModelSpec,
)
from fer_edge.artifacts.artifact import Artifact
from fer_edge.artifacts.model import Model, packaged_models
from fer_edge.artifacts.spec import METADATA_KEY
from fer_edge.backends import BackendOptions

ort = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx", reason="no onnx to make artifacts with")

from fer_edge.backends.onnxruntime import OnnxRuntimeBackend  # noqa: E402
from fer_edge.backends.onnxruntime_devices import TENSORRT, Device, device_named  # noqa: E402
from fer_edge.backends.open_model import _artifact  # noqa: E402

Change = Callable[[Any], None]


def artifact(data: bytes) -> Artifact:
    return Artifact(Path("model.onnx"), "onnx", data, hashlib.sha256(data).hexdigest())


def opened(data: bytes, **options: Any) -> OnnxRuntimeBackend:
    return OnnxRuntimeBackend(artifact(data), BackendOptions(**options))


@pytest.fixture
def data(tiny_artifact: Path) -> bytes:
    return tiny_artifact.read_bytes()


@pytest.fixture
def changed(tiny_artifact: Path) -> Callable[[Change], bytes]:
    """The tiny artifact after a change of its ONNX model."""

    def change(edit: Change) -> bytes:
        model = onnx.load(tiny_artifact)
        edit(model)
        return bytes(model.SerializeToString())

    return change


def batch(count: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, 48, 48, 1), np.uint8)


@pytest.mark.parametrize("count", [1, 2, 65])
def test_infers_batches_of_any_size(
    data: bytes, count: int, tiny_answer: Callable[..., tuple[Any, Any]]
) -> None:
    given = opened(data).infer(batch(count))
    for values, exact in zip(given, tiny_answer(batch(count)), strict=True):
        assert values.dtype == np.float32
        assert values == pytest.approx(exact, abs=1e-4)


@pytest.mark.parametrize(
    ("precision", "computes_in"), [("fp32", "fp32"), ("int8", "int8"), ("fp16", "unknown")]
)
def test_it_says_what_it_computes_in(
    changed: Callable[[Change], bytes], tiny_spec: ModelSpec, precision: str, computes_in: str
) -> None:
    spec = tiny_spec.with_changes(precision=precision).to_json()

    def edit(model: Any) -> None:
        onnx.helper.set_model_props(model, {METADATA_KEY: spec})

    assert opened(changed(edit)).engine.inference_precision == computes_in


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The options of every session that is opened."""
    seen = []
    kind = ort.InferenceSession

    def record(data: bytes, options: Any, **rest: Any) -> Any:
        seen.append((options, rest))
        return kind(data, options, **rest)

    monkeypatch.setattr(ort, "InferenceSession", record)
    return seen


@pytest.mark.parametrize("threads", [1, 3])
def test_the_engine_gets_the_threads_that_were_asked_for(
    data: bytes, settings: list[Any], threads: int
) -> None:
    assert opened(data, threads=threads).engine.threads == threads
    assert settings[0][0].intra_op_num_threads == threads


def test_for_throughput_each_call_keeps_to_its_own_thread(data: bytes, settings: list[Any]) -> None:
    engine = opened(data, goal="throughput", threads=3).engine
    assert settings[0][0].intra_op_num_threads == 1
    assert (engine.threads, engine.concurrency) == (3, 3)


def test_for_throughput_all_usable_cores_are_used(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fer_edge.backends.onnxruntime.usable_cores", lambda: 7)
    assert opened(data, goal="throughput").engine.concurrency == 7


@pytest.mark.parametrize(("spinning", "entry"), [(False, "0"), (True, "1")])
def test_idle_threads_leave_the_cores_alone_unless_asked_not_to(
    data: bytes, settings: list[Any], spinning: bool, entry: str
) -> None:
    opened(data, spinning=spinning)
    given = settings[0][0].get_session_config_entry("session.intra_op.allow_spinning")
    assert given == entry


@pytest.mark.parametrize("wanted", ["bf16", "fp16"])
def test_it_computes_as_the_graph_says_and_no_other_way(data: bytes, wanted: str) -> None:
    with pytest.raises(ConfigurationError, match=f"here in fp32, and not in {wanted}; export"):
        opened(data, inference_precision=wanted)


def test_asked_for_what_it_does_anyway_it_agrees(data: bytes) -> None:
    assert opened(data, inference_precision="fp32").engine.inference_precision == "fp32"


def test_the_engine_may_not_fall_back_by_itself(data: bytes, settings: list[Any]) -> None:
    opened(data)
    assert settings[0][1]["enable_fallback"] is False


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What an ONNX Runtime with every provider is asked for; it then uses the CPU."""
    seen: list[Any] = []
    kind = ort.InferenceSession

    def record(data: bytes, options: Any, *, providers: Any, **rest: Any) -> Any:
        if providers != ["CPUExecutionProvider"]:  # which only reads the metadata
            seen.append(providers)
        return kind(data, options, providers=["CPUExecutionProvider"], **rest)

    names = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(ort, "get_available_providers", lambda: names)
    monkeypatch.setattr(ort, "InferenceSession", record)
    return seen


@pytest.mark.parametrize(
    ("device", "provider", "number"),
    [
        ("cuda", "CUDAExecutionProvider", "0"),
        ("cuda:1", "CUDAExecutionProvider", "1"),
        ("tensorrt", "TensorrtExecutionProvider", "0"),
    ],
)
def test_a_gpus_provider_is_asked_for_and_never_replaced_by_the_cpu(
    data: bytes, asked: list[Any], device: str, provider: str, number: str
) -> None:
    with pytest.raises(EngineError, match=f"did not load {provider} and fell back to CPU"):
        opened(data, device=device)
    name, options = asked[0][0]
    assert (name, options["device_id"]) == (provider, number)


def test_what_tensorrt_leaves_goes_to_cuda_without_tf32(data: bytes, asked: list[Any]) -> None:
    with pytest.raises(EngineError):
        opened(data, device="tensorrt")
    assert asked[0][1][0] == "CUDAExecutionProvider"
    assert asked[0][1][1]["use_tf32"] == "0"


def test_tensorrts_engines_are_kept_where_the_user_has_a_home(
    data: bytes, asked: list[Any], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EngineError):
        opened(data, device="tensorrt")
    options = asked[0][0][1]
    assert options["trt_engine_cache_path"] == str(home / "onnxruntime-tensorrt")
    assert options["trt_engine_cache_enable"] == options["trt_timing_cache_enable"] == "True"
    assert options["trt_timing_cache_path"] == options["trt_engine_cache_path"]
    assert (home / "onnxruntime-tensorrt").is_dir()

    def homeless() -> Path:
        raise ConfigurationError("this user has no home folder")

    monkeypatch.setattr("fer_edge.backends.onnxruntime_devices.data_folder", homeless)
    with pytest.raises(EngineError, match="did not load TensorrtExecutionProvider"):
        opened(data, device="tensorrt")
    assert "trt_engine_cache_path" not in asked[1][0][1]


@pytest.mark.skipif(
    not hasattr(ort.InferenceSession, "get_provider_graph_assignment_info"),
    reason="this ONNX Runtime does not tell who runs what",
)
def test_a_provider_that_leaves_the_work_to_the_cpu_is_refused(
    data: bytes, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # loads, and then takes no node: what CUDA does with a graph that it has no kernels for
    real = ort.InferenceSession

    def loaded(*arguments: Any, **rest: Any) -> Any:
        session = real(*arguments, **rest)
        session.get_providers = lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
        return session

    monkeypatch.setattr(ort, "InferenceSession", loaded)
    with pytest.raises(EngineError, match="leaves Gemm to CPUExecutionProvider"):
        opened(data, device="cuda")


@pytest.mark.parametrize(
    ("machine", "advice"),
    [("x86_64", "pip install onnxruntime-gpu"), ("aarch64", "that NVIDIA builds for your JetPack")],
)
def test_cuda_without_its_provider_says_what_to_install(
    data: bytes, monkeypatch: pytest.MonkeyPatch, machine: str, advice: str
) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr("platform.machine", lambda: machine)
    with pytest.raises(EngineError, match=advice):
        opened(data, device="cuda")


def test_tensorrt_is_told_the_range_of_batches_so_that_no_call_builds_again(
    data: bytes, asked: list[Any]
) -> None:
    with pytest.raises(EngineError):
        opened(data, device="tensorrt")
    options = asked[0][0][1]
    assert options["trt_profile_min_shapes"] == options["trt_profile_opt_shapes"]
    assert options["trt_profile_min_shapes"] == "crop:1x48x48x1"
    assert options["trt_profile_max_shapes"] == "crop:32x48x48x1"


@pytest.mark.parametrize(
    ("precision", "flags"),
    [("fp32", set()), ("fp16", {"trt_fp16_enable"}), ("int8", {"trt_int8_enable"})],
)
def test_tensorrt_is_told_the_precision_that_the_graph_has(precision: str, flags: set[str]) -> None:
    options = Device(TENSORRT).options(precision, None)
    assert {name for name in options if name in ("trt_fp16_enable", "trt_int8_enable")} == flags
    assert not [name for name in options if "profile" in name]


def test_a_batch_beyond_the_engines_range_is_refused(
    data: bytes, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fer_edge.backends.onnxruntime._check_provider", lambda *_: None)
    backend = opened(data, device="tensorrt")
    assert backend.engine.max_batch == 32
    backend.infer(np.zeros((32, 48, 48, 1), np.uint8))
    with pytest.raises(InputError, match=r"a batch of 33 crops.*at most 32"):
        backend.infer(np.zeros((33, 48, 48, 1), np.uint8))


# ---- NVIDIA's plugin


class Plugin:
    """The package that brings the plugin, where the test says what ONNX Runtime does with it."""

    def __init__(self, patch: pytest.MonkeyPatch, gpus: int, problem: str = "") -> None:
        self.registered: list[tuple[str, str]] = []
        self._gpus, self._problem = gpus, problem
        module = ModuleType("onnxruntime_ep_nv_tensorrt_rtx")
        module.get_library_path = lambda: "plugin.so"  # type: ignore[attr-defined]
        patch.setitem(sys.modules, module.__name__, module)
        patch.setattr(ort, "register_execution_provider_library", self._register, raising=False)
        patch.setattr(ort, "get_ep_devices", self._devices, raising=False)

    def _register(self, name: str, path: str) -> None:
        if self._problem:
            raise RuntimeError(self._problem)
        self.registered.append((name, path))

    def _devices(self) -> list[Any]:
        count = self._gpus if self.registered else 0
        return [SimpleNamespace(ep_name=name) for name, _ in self.registered for _ in range(count)]


def test_without_the_plugin_its_device_names_the_package(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime_ep_nv_tensorrt_rtx", None)
    with pytest.raises(EngineError, match="pip install onnxruntime-ep-nv-tensorrt-rtx") as caught:
        opened(data, device="tensorrt-rtx")
    assert caught.value.exit_code == 3


def test_a_plugin_without_a_driver_is_one_line(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    Plugin(monkeypatch, 0, "FAIL\n libcuda.so.1: cannot open shared object file")
    with pytest.raises(EngineError, match=r"RTX 30 or later.*libcuda\.so\.1") as caught:
        opened(data, device="tensorrt-rtx")
    assert "\n" not in str(caught.value)


def test_a_plugin_without_a_gpu_for_it_says_so(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    Plugin(monkeypatch, 0)
    with pytest.raises(EngineError, match="sees 0 GPUs that it can use"):
        opened(data, device="tensorrt-rtx")


def test_the_plugin_is_registered_once_and_told_of_the_engine(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = Plugin(monkeypatch, 2)
    seen: list[Any] = []

    class Settings:
        def add_provider_for_devices(self, devices: list[Any], options: dict[str, str]) -> None:
            seen.append((devices, options))

    monkeypatch.setattr(ort, "InferenceSession", lambda *_, **__: "a session")
    for _ in range(2):
        device = device_named("tensorrt-rtx:1")
        options = device.options("int8", (48, 48, 1))
        assert device.session(data, Settings(), options) == "a session"
    assert plugin.registered == [("NvTensorRTRTXExecutionProvider", "plugin.so")]
    (devices, told), _ = seen
    assert [one.ep_name for one in devices] == ["NvTensorRTRTXExecutionProvider"]
    assert told["nv_profile_max_shapes"] == "crop:32x48x48x1"


@pytest.mark.parametrize(
    ("device", "file"),
    [("cpu", "model.int8.onnxruntime.onnx"), ("tensorrt", "model.int8.onnx")],
)
def test_nvidias_parser_gets_the_plain_form_of_int8(
    device: str, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model.open("mobilenet" if "mobilenet" in packaged_models() else "default")
    if "model.int8.onnxruntime.onnx" not in {e.file for e in model.manifest.artifacts}:  # type: ignore[union-attr]
        pytest.skip("the packaged model has one form of INT8 only")
    assert _artifact(model, "onnxruntime", device, "int8").path.name == file


@pytest.mark.parametrize("damaged", [b"", b"no model", b"\0" * 4096])
def test_bytes_that_are_no_onnx_are_refused(damaged: bytes) -> None:
    message = r"ONNX Runtime cannot load model\.onnx on CPUExecutionProvider: "
    with pytest.raises(ArtifactError, match=message):
        opened(damaged)


def test_a_refused_artifact_leaves_the_commands_output_alone(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ArtifactError):
        opened(b"no model")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("part", [0.01, 0.5, 0.97, 0.999])
def test_a_truncated_artifact_is_refused(data: bytes, part: float) -> None:
    with pytest.raises(ArtifactError):
        opened(data[: int(len(data) * part)])


@pytest.mark.parametrize("text", [b'"architecture"', b"fer_edge", b"batch"])
def test_text_that_is_no_text_is_refused(data: bytes, text: bytes) -> None:
    at = data.rindex(text)
    with pytest.raises(ArtifactError):
        opened(data[: at + 1] + b"\xff" + data[at + 2 :])


def test_an_onnx_without_a_spec_is_refused(changed: Callable[[Change], bytes]) -> None:
    with pytest.raises(
        ArtifactError,
        match=r"carries no model spec, which would say its network, its input \(height, width"
        r".*precision, temperature and labels\. Export the model with fer-export, .*spec=ModelSpec",
    ):
        opened(changed(lambda model: model.ClearField("metadata_props")))


def test_an_onnx_without_a_spec_works_with_the_callers(
    changed: Callable[[Change], bytes], tiny_spec: ModelSpec, data: bytes
) -> None:
    bare = changed(lambda model: model.ClearField("metadata_props"))
    backend = OnnxRuntimeBackend(replace(artifact(bare), spec=tiny_spec), BackendOptions())
    assert backend.spec == tiny_spec
    assert np.array_equal(backend.infer(batch(2))[1], opened(data).infer(batch(2))[1])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("{", "is not valid JSON"),
        ("{}", "lacks the fields"),
        (json.dumps({"schema": 99}), "has schema 99, and this release reads up to 1"),
    ],
)
def test_a_spec_that_is_none_is_refused(
    changed: Callable[[Change], bytes], spec: str, message: str
) -> None:
    with pytest.raises(ArtifactError, match=f"the spec in model.onnx {message}"):
        opened(changed(lambda model: onnx.helper.set_model_props(model, {METADATA_KEY: spec})))


def free_shape(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "height"


def wrong_name(model: Any) -> None:
    model.graph.output[1].name = "scores"
    model.graph.node[-1].output[0] = "scores"


def one_output(model: Any) -> None:
    del model.graph.output[1]


@pytest.mark.parametrize("edit", [free_shape, wrong_name, one_output])
def test_a_graph_that_does_not_fit_its_spec_is_refused(
    changed: Callable[[Change], bytes], edit: Change
) -> None:
    with pytest.raises(ArtifactError, match="does not fit its own spec"):
        opened(changed(edit))


def test_a_spec_of_another_shape_is_refused(
    changed: Callable[[Change], bytes], tiny_spec: ModelSpec
) -> None:
    other = json.loads(tiny_spec.to_json())
    other["input"]["height"] = 64
    props = {METADATA_KEY: json.dumps(other)}
    with pytest.raises(ArtifactError, match=r"expected crop uint8 \(N, 64, 48, 1\)"):
        opened(changed(lambda model: onnx.helper.set_model_props(model, props)))


def test_a_fixed_batch_is_filled_up_and_never_exceeded(
    changed: Callable[[Change], bytes], tiny_answer: Callable[..., tuple[Any, Any]]
) -> None:
    def two_at_a_time(model: Any) -> None:
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = 2

    backend = opened(changed(two_at_a_time))
    assert backend.engine.max_batch == 2
    for count in (1, 2):
        logits, probabilities = backend.infer(batch(count))
        assert len(logits) == len(probabilities) == count
        assert probabilities == pytest.approx(tiny_answer(batch(count))[1], abs=1e-4)
    with pytest.raises(EngineError, match="takes 2 crops in one call, not 3"):
        backend.infer(batch(3))


def test_what_the_engine_refuses_is_its_error(data: bytes) -> None:
    with pytest.raises(EngineError, match=r"failed on crops of shape \(1, 32, 48, 1\): .*invalid"):
        opened(data).infer(np.zeros((1, 32, 48, 1), np.uint8))
