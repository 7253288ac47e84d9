"""The torch backend: what it opens, what it refuses, what it computes in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fer_edge import ConfigurationError, EngineError, ModelSpec
from fer_edge.artifacts.artifact import Artifact
from fer_edge.backends import BackendOptions

torch = pytest.importorskip("torch")
pytest.importorskip("timm")

from fer_edge.backends.torch import TorchBackend  # noqa: E402
from fer_edge.torch_model import checkpoint  # noqa: E402

Crops = Callable[..., npt.NDArray[np.uint8]]
OpenBytes = Callable[..., TorchBackend]

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no NVIDIA GPU")


@pytest.fixture
def opened(artifact_of: Callable[..., Artifact], small_checkpoint: Path) -> OpenBytes:
    """Open bytes as a checkpoint, by default the small one's."""

    def open_bytes(data: bytes | None = None, **options: Any) -> TorchBackend:
        stored = small_checkpoint.read_bytes() if data is None else data
        return TorchBackend(artifact_of(stored, "model.safetensors"), BackendOptions(**options))

    return open_bytes


@pytest.fixture(autouse=True)
def _threads() -> Any:
    """torch's one number of threads is the process's: put it back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_it_answers_as_the_network_does(
    opened: OpenBytes, small_checkpoint: Path, small_spec: ModelSpec, crops: Crops
) -> None:
    network, _ = checkpoint.load(small_checkpoint)
    batch = crops(5)
    mean, std = small_spec.input.mean[0], small_spec.input.std[0]
    pixels = torch.from_numpy(batch).permute(0, 3, 1, 2).double()
    with torch.no_grad():
        exact = network.double()((pixels / 255 - mean) / std)
    logits, probabilities = opened().infer(batch)
    assert logits == pytest.approx(exact.numpy(), abs=1e-4)
    scaled = torch.softmax(exact / small_spec.temperature, 1).numpy()
    assert probabilities == pytest.approx(scaled, abs=1e-5)


def test_another_spec_than_its_own_is_refused(
    artifact_of: Callable[..., Artifact], small_checkpoint: Path, small_spec: ModelSpec
) -> None:
    given = artifact_of(small_checkpoint.read_bytes(), "model.safetensors")
    own = checkpoint.read_spec(small_checkpoint)
    TorchBackend(replace(given, spec=own), BackendOptions())
    with pytest.raises(ConfigurationError, match=r"carries a spec of its own, .* leave spec out"):
        TorchBackend(replace(given, spec=replace(own, temperature=2.5)), BackendOptions())


def test_threads_hold_for_the_call_of_any_thread(opened: OpenBytes, crops: Crops) -> None:
    backend = opened(threads=1)
    torch.set_num_threads(2)  # as another Predictor, or the application, may do
    backend.infer(crops(1))
    assert torch.get_num_threads() == 1


def test_without_a_number_torchs_own_is_left_alone(opened: OpenBytes, crops: Crops) -> None:
    torch.set_num_threads(2)
    backend = opened()
    backend.infer(crops(1))
    assert backend.engine.threads == torch.get_num_threads() == 2


def test_for_throughput_each_call_keeps_to_its_own_thread(opened: OpenBytes, crops: Crops) -> None:
    backend = opened(goal="throughput", threads=3)
    backend.infer(crops(1))
    assert torch.get_num_threads() == 1
    assert backend.engine.concurrency == 3


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_asked_for_less_it_computes_in_less(
    opened: OpenBytes, crops: Crops, precision: str
) -> None:
    exact = opened().infer(crops(8))[1]
    backend = opened(inference_precision=precision)
    assert backend.engine.inference_precision == precision
    logits, given = backend.infer(crops(8))
    assert logits.dtype == given.dtype == np.float32
    assert 1e-6 < np.abs(given - exact).max() < 0.05


def test_weights_stored_by_halves_are_computed_with_in_fp32(
    opened: OpenBytes, small_checkpoint: Path, small_spec: ModelSpec, tmp_path: Path, crops: Crops
) -> None:
    network, _ = checkpoint.load(small_checkpoint)
    checkpoint.save(tmp_path / "half.safetensors", network.state_dict(), small_spec, half=True)
    backend = opened((tmp_path / "half.safetensors").read_bytes())
    assert (backend.spec.precision, backend.engine.inference_precision) == ("fp32", "fp32")
    assert backend.infer(crops(4))[1] == pytest.approx(opened().infer(crops(4))[1], abs=0.01)


def test_a_torch_without_cuda_says_what_to_install(
    opened: OpenBytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(EngineError, match="built without CUDA; install the CUDA build"):
        opened(device="cuda")


@pytest.mark.parametrize(("there", "asked"), [(0, "cuda"), (1, "cuda:1")])
def test_a_gpu_that_is_not_there_is_named(
    opened: OpenBytes, monkeypatch: pytest.MonkeyPatch, there: int, asked: str
) -> None:
    monkeypatch.setattr(torch.version, "cuda", "13.2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    with pytest.raises(EngineError, match=f"sees {there} GPUs, .* and cuda:{there} was asked for"):
        opened(device=asked)


@pytest.mark.long
def test_compiled_it_gives_the_same_answers(opened: OpenBytes, crops: Crops) -> None:
    backend, plain = opened(compiled=True), opened()
    for count in (1, 3):
        exact = plain.infer(crops(count))[1]
        assert backend.infer(crops(count))[1] == pytest.approx(exact, abs=1e-5)


@needs_gpu
@pytest.mark.parametrize("goal", ["latency", "throughput"])
def test_on_a_gpu_each_size_of_batch_is_a_graph(opened: OpenBytes, crops: Crops, goal: str) -> None:
    plain, backend = opened(), opened(device="cuda", goal=goal)
    assert backend.engine.provider.startswith("cuda:0 (")
    for _ in range(2):
        for count in (1, 2, 40):
            exact = plain.infer(crops(count))[1]
            assert backend.infer(crops(count))[1] == pytest.approx(exact, abs=1e-4)


@needs_gpu
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_on_a_gpu_it_computes_in_less_when_asked(
    opened: OpenBytes, crops: Crops, precision: str
) -> None:
    exact = opened().infer(crops(8))[1]
    backend = opened(device="cuda", inference_precision=precision)
    assert 1e-6 < np.abs(backend.infer(crops(8))[1] - exact).max() < 0.05
