"""What tests of the runtime share: the tiny model's answers, worked out here, and a model directory
that holds it.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from fer_edge.artifacts.manifest import ArtifactEntry, GoldenCrop, Manifest
from fer_edge.artifacts.spec import ModelSpec

Answer = Callable[[npt.NDArray[np.uint8]], tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]
MakeDirectory = Callable[..., Path]


@pytest.fixture(scope="session")
def tiny_answer(tiny_artifact: Path, tiny_spec: ModelSpec) -> Answer:
    """Work out logits and probabilities of the tiny artifact's one layer, without an engine."""
    onnx = pytest.importorskip("onnx", reason="no onnx to read the weights with")
    stored = onnx.load(tiny_artifact).graph.initializer
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in stored}
    weight, bias = values["weight"].astype(np.float64), values["bias"].astype(np.float64)

    def answer(
        tensor: npt.NDArray[np.uint8],
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        normal = (tensor / 255 - tiny_spec.input.mean[0]) / tiny_spec.input.std[0]
        logits = normal.reshape(len(tensor), -1) @ weight + bias
        powers = np.exp(logits / tiny_spec.temperature)
        return logits, powers / powers.sum(axis=1, keepdims=True)

    return answer


@pytest.fixture
def make_model_directory(tiny_artifact: Path, tiny_answer: Answer, tmp_path: Path) -> MakeDirectory:
    """Write a model directory that holds the tiny artifact, with one golden crop.

    ``precision`` is what the manifest says of it, ``error`` what is added to the golden answer.
    """

    def make(name: str = "tiny", *, precision: str = "fp32", error: float = 0.0) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        file = Path(shutil.copy(tiny_artifact, folder / "model.onnx"))
        data = file.read_bytes()
        entry = ArtifactEntry(
            file.name, hashlib.sha256(data).hexdigest(), len(data), "onnx", precision
        )
        crop = np.random.default_rng(3).integers(0, 256, (48, 48), np.uint8)
        tensor = crop[:, :, None]
        _, probabilities = tiny_answer(tensor[None])
        golden = GoldenCrop.of(crop, tensor, (probabilities[0] + error).astype(np.float32))
        Manifest(name, precision, (entry,), (golden,)).write(folder)
        return folder

    return make


@pytest.fixture
def model_directory(make_model_directory: MakeDirectory) -> Path:
    """A model directory with the tiny artifact."""
    return make_model_directory()


@pytest.fixture
def no_default_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An installation that carries no model."""
    monkeypatch.setattr("fer_edge.artifacts.model._MODELS", tmp_path / "no models")
