"""Keras' MobileNet v1 as a graph model of TensorFlow.js."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from fer_edge.artifacts.spec import InputSpec, ModelSpec, NetworkSpec
from fer_edge.errors import ArtifactError
from fer_edge.torch_model.network import Normalized, build
from fer_train.pretrained import load_initial, read_source
from fer_train.pretrained.graph_model import read_graph_model

CHANNELS = [32, 64, 128, 128, 256, 256, *[512] * 6, 1024, 1024]
STRIDES = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]
MEAN = torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)
Write = Callable[..., Path]


def made() -> dict[str, np.ndarray[Any, np.dtype[np.float16]]]:
    """Random weights in the names and layouts of such a file, batch norms folded."""
    rng = np.random.default_rng(0)

    def normal(*shape: int, scale: float) -> np.ndarray[Any, np.dtype[np.float16]]:
        return rng.normal(0, scale, shape).astype(np.float16)

    weights = {
        "conv1/convolution/merged_input": normal(3, 3, 3, 32, scale=0.004),
        "conv1_bn/batchnorm_1/sub": normal(32, scale=0.3),
    }
    for number in range(1, 14):
        seen, out = CHANNELS[number - 1], CHANNELS[number]
        weights |= {
            f"conv_dw_{number}/depthwise_kernel": normal(3, 3, seen, 1, scale=0.3),
            f"conv_dw_{number}_bn/batchnorm_1/mul": 1 + normal(seen, scale=0.2),
            f"conv_dw_{number}_bn/batchnorm_1/sub": normal(seen, scale=0.3),
            f"conv_pw_{number}/convolution/merged_input": normal(
                1, 1, seen, out, scale=1.5 / math.sqrt(seen)
            ),
            f"conv_pw_{number}_bn/batchnorm_1/sub": normal(out, scale=0.3),
        }
    return weights


def answered(weights: dict[str, Any], pixels: torch.Tensor) -> torch.Tensor:
    """What the graph computes of RGB pixels, 0 to 255, before its head; written from the graph."""
    known = {name: torch.from_numpy(array.astype(np.float32)) for name, array in weights.items()}

    def convolved(seen: torch.Tensor, kernel: torch.Tensor, stride: int, groups: int = 1) -> Any:
        if kernel.shape[2] == 3:
            seen = functional.pad(seen, (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1))
        return functional.conv2d(seen, kernel, stride=stride, groups=groups)

    def added(seen: torch.Tensor, name: str) -> torch.Tensor:
        return (seen + known[f"{name}/batchnorm_1/sub"].view(1, -1, 1, 1)).clamp(0, 6)

    kernel = known["conv1/convolution/merged_input"].permute(3, 2, 0, 1)
    seen = added(convolved(pixels - MEAN, kernel, 2), "conv1_bn")
    for number, stride in enumerate(STRIDES, 1):
        name = f"conv_dw_{number}"
        kernel = known[f"{name}/depthwise_kernel"].permute(2, 3, 0, 1)
        seen = convolved(seen, kernel, stride, len(kernel))
        seen = added(seen * known[f"{name}_bn/batchnorm_1/mul"].view(1, -1, 1, 1), f"{name}_bn")
        name = f"conv_pw_{number}"
        kernel = known[f"{name}/convolution/merged_input"].permute(3, 2, 0, 1)
        seen = added(convolved(seen, kernel, 1), f"{name}_bn")
    return seen.mean((2, 3))


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a graph model, of these weights or of others."""

    def one(weights: dict[str, Any] | None = None) -> Path:
        weights = weights or made()
        entries = [
            {
                "name": name,
                "shape": list(array.shape),
                "dtype": "float32",
                "quantization": {"dtype": "float16", "original_dtype": "float32"},
            }
            for name, array in weights.items()
        ]
        graph = {
            "format": "graph-model",
            "generatedBy": "somebody",
            "weightsManifest": [{"paths": ["faces.bin"], "weights": entries}],
        }
        folder = tmp_path / "package" / "models"
        folder.mkdir(parents=True, exist_ok=True)
        package = {"name": "@some/faces", "version": "1.2.3", "license": "MIT"}
        (folder.parent / "package.json").write_text(json.dumps(package))
        (folder / "faces.json").write_text(json.dumps(graph))
        (folder / "faces.bin").write_bytes(b"".join(array.tobytes() for array in weights.values()))
        return folder / "faces.json"

    return one


def started(path: Path, spec: ModelSpec, pictures: torch.Tensor) -> torch.nn.Module:
    weights = read_source(str(path))
    spec = replace(spec, input=weights.normalised(spec.input))
    network = build(spec)
    load_initial(network, spec, weights, pictures=pictures)
    return Normalized(network, spec)


RGB = ModelSpec(
    NetworkSpec("fer_mobilenet_v1", batch_norm_epsilon=1e-3),
    InputSpec(96, 96, "rgb", (0.5,) * 3, (0.5,) * 3),
)


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    coarse = torch.rand(8, 3, 12, 12, generator=torch.Generator().manual_seed(0)) * 255
    return functional.interpolate(coarse, (96, 96), mode="bilinear")


def features(network: torch.nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """What its head sees."""
    seen: list[torch.Tensor] = []
    head = network.get_submodule("network.classifier")
    handle = head.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0].detach()))
    with torch.no_grad():
        network(pixels)
    handle.remove()
    return seen[0]


def test_the_network_computes_what_the_graph_does(write: Write, pixels: torch.Tensor) -> None:
    network = started(write(), RGB, pixels.to(torch.uint8)).eval()
    expected = answered(made(), pixels)
    assert expected.std() > 0.01
    assert torch.allclose(features(network, pixels), expected, atol=1e-3)


def test_training_computes_nearly_what_evaluation_does(write: Write, pixels: torch.Tensor) -> None:
    """Batch norms that were not measured would destroy the features."""
    network = started(write(), RGB, pixels.to(torch.uint8))
    whole = pixels.to(torch.uint8).float()
    expected = features(network.eval(), whole)
    came = features(network.train(), whole)
    assert float((came - expected).abs().mean()) < 0.05 * float(expected.abs().mean())


def test_where_it_is_from_is_told(write: Write) -> None:
    published = read_graph_model(write()).published
    assert published is not None
    assert published.origin == "faces.json of @some/faces 1.2.3, MIT; made by somebody"


def renamed(weights: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("conv_dw_13", "conv_dw_14"): array for name, array in weights.items()}


def test_a_graph_of_another_architecture_is_refused_with_both_named(write: Write) -> None:
    with pytest.raises(ArtifactError, match=r"conv1/convolution/merged_input.*MobileNet v1"):
        read_graph_model(write(renamed(made())))


def test_it_starts_no_other_network(write: Write) -> None:
    spec = ModelSpec(NetworkSpec("test_efficientnet"), InputSpec(48, 48))
    with pytest.raises(ArtifactError, match=r"fer_mobilenet_v1, and .* test_efficientnet"):
        load_initial(build(spec), spec, read_source(str(write())))


@pytest.mark.parametrize(
    "damage", ["text", "format", "short", "long", "missing", "outside", "type", "shape"]
)
def test_a_damaged_file_is_told(damage: str, write: Write) -> None:
    path = write()
    weights, graph = path.with_name("faces.bin"), json.loads(path.read_text())
    manifest = graph["weightsManifest"][0]
    if damage == "text":
        path.write_text("no graph")
    elif damage == "short":
        weights.write_bytes(weights.read_bytes()[:-2])
    elif damage == "long":
        weights.write_bytes(weights.read_bytes() + b"xx")
    elif damage == "missing":
        weights.unlink()
    else:
        if damage == "format":
            graph["format"] = "layers-model"
        elif damage == "shape":
            manifest["weights"][0]["shape"] = [3 * 3 * 3 * 32]
        elif damage == "outside":
            manifest["paths"] = ["../../secret"]
        else:
            manifest["weights"][0]["quantization"]["dtype"] = "uint8"
        path.write_text(json.dumps(graph))
    with pytest.raises(ArtifactError, match=r"faces\.(json|bin)"):
        read_graph_model(path)


def test_the_real_one_fits() -> None:
    place = os.environ.get("FACERES", "")
    if not Path(place).is_file():
        pytest.skip("no faceres.json of npm's @vladmandic/human; give its path in FACERES")
    assert read_graph_model(Path(place)).tensors["conv_stem.weight"].shape == (32, 3, 3, 3)
