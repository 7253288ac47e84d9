"""The devices of ONNX Runtime: which provider each is, what it is told, and NVIDIA's plugin."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from fer_edge import ConfigurationError, EngineError
from fer_edge.artifacts.artifact import Artifact
from fer_edge.artifacts.model import Model, packaged_models
from fer_edge.backends import BackendOptions

ort = pytest.importorskip("onnxruntime")

from fer_edge.backends.onnxruntime import OnnxRuntimeBackend  # noqa: E402
from fer_edge.backends.onnxruntime_devices import TENSORRT, Device, device_named  # noqa: E402
from fer_edge.backends.open_model import _artifact  # noqa: E402


def opened(data: bytes, device: str) -> OnnxRuntimeBackend:
    artifact = Artifact(Path("model.onnx"), "onnx", data, "0" * 64)
    return OnnxRuntimeBackend(artifact, BackendOptions(device))


@pytest.fixture
def data(tiny_artifact: Path) -> bytes:
    return tiny_artifact.read_bytes()


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


def test_the_range_of_batches_is_told(
    data: bytes, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fer_edge.backends.onnxruntime._check_provider", lambda *_: None)
    assert opened(data, device="tensorrt").engine.max_batch == 32


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
