"""Reading Keras' MobileNet v1 from a graph model of TensorFlow.js, such as ``faceres`` for faces.

A graph model (https://github.com/tensorflow/tfjs/tree/master/tfjs-converter) is a JSON file with
the graph and with names and shapes of the weights, which follow one another in a file beside it.
"""

from __future__ import annotations

import math
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch

from fer_edge.artifacts.record import parse_json
from fer_edge.errors import ArtifactError
from fer_edge.system.files import sha256_of
from fer_edge.system.read_file import read_file
from fer_train.pretrained.reading import Published, Weights

ARCHITECTURE = "fer_mobilenet_v1"
_BLOCKS = (1, 2, 2, 6, 2)
"""Depthwise and pointwise pairs in each stage of timm's network; Keras numbers them 1 to 13."""

_MEAN = (103.939 / 255, 116.779 / 255, 123.68 / 255)
_STD = 0.5
"""The original does not divide. We scale its first kernel in return, so that inputs are near 1."""

_EPSILON = 1e-3
_MAX_JSON, _MAX_WEIGHTS = 16 << 20, 256 << 20
_TYPES: dict[str, np.dtype[Any]] = {
    "float16": np.dtype("<f2"),
    "float32": np.dtype("<f4"),
    "int32": np.dtype("<i4"),
}


def read_graph_model(path: Path) -> Weights:
    """Read the JSON file of a graph model and the weights beside it.

    Raises ArtifactError for a file that cannot be read, and for a graph of another architecture.
    """
    try:
        graph, weights_file, weights = _read(path)
        digest, origin = sha256_of(weights_file), _origin(path, graph)
    except (OSError, LookupError, TypeError, ValueError, AttributeError, RuntimeError) as problem:
        raise ArtifactError(
            f"{path} is not a readable graph model of one weights file: {problem!r:.200}"
        ) from problem
    try:
        tensors = _in_timms_names(weights)
    except KeyError as problem:
        has = ", ".join(f"{name:.60}" for name in list(weights)[:4]) or "nothing"
        raise ArtifactError(
            f"{path} is a graph of another architecture (its weights: {has} ...) than Keras' "
            f"MobileNet v1, which has {problem.args[0]}"
        ) from problem
    except (ValueError, RuntimeError) as problem:
        raise ArtifactError(
            f"{path} has weights of other shapes than Keras' MobileNet v1: {problem!r:.200}"
        ) from problem
    published = Published(ARCHITECTURE, origin, _MEAN, _STD, unmeasured=True)
    return Weights(path, digest, tensors, "graph model", published=published)


def _in_timms_names(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    tensors = {"conv_stem.weight": _kernel(weights["conv1/convolution/merged_input"]) * 255 * _STD}
    tensors |= _batch_norm("bn1", weights["conv1_bn/batchnorm_1/sub"])
    names = [f"blocks.{i}.{j}" for i, count in enumerate(_BLOCKS) for j in range(count)]
    for number, name in enumerate(names, 1):
        depthwise, pointwise = f"conv_dw_{number}", f"conv_pw_{number}"
        kernel = weights[f"{depthwise}/depthwise_kernel"].permute(2, 3, 0, 1)
        tensors[f"{name}.conv_dw.weight"] = kernel.contiguous()
        kernel = _kernel(weights[f"{pointwise}/convolution/merged_input"])
        tensors[f"{name}.conv_pw.weight"] = kernel
        shift, scale = (weights[f"{depthwise}_bn/batchnorm_1/{what}"] for what in ("sub", "mul"))
        tensors |= _batch_norm(f"{name}.bn1", shift, scale)
        tensors |= _batch_norm(f"{name}.bn2", weights[f"{pointwise}_bn/batchnorm_1/sub"])
    return tensors


def _kernel(weight: torch.Tensor) -> torch.Tensor:
    return weight.permute(3, 2, 0, 1).contiguous()


def _batch_norm(
    name: str, shift: torch.Tensor, scale: torch.Tensor | float = 1.0
) -> dict[str, torch.Tensor]:
    """A batch norm that scales and shifts, with statistics that are still to be measured."""
    return {
        f"{name}.weight": torch.ones_like(shift) * scale * math.sqrt(1 + _EPSILON),
        f"{name}.bias": shift,
        f"{name}.running_mean": torch.zeros_like(shift),
        f"{name}.running_var": torch.ones_like(shift),
    }


def _read(path: Path) -> tuple[dict[str, Any], Path, dict[str, torch.Tensor]]:
    graph = parse_json(read_file(path, "graph model", _MAX_JSON, ArtifactError), str(path))
    if not isinstance(graph, dict) or graph.get("format") != "graph-model":
        raise ArtifactError(
            f"{path} is not a graph model of TensorFlow.js; give a state dict, or such a .json"
        )
    (group,) = graph["weightsManifest"]
    (file,) = group["paths"]
    if PurePath(file).name != file:
        raise ValueError(f"its weights should be in a file beside it, not in {file!r:.80}")
    weights_file = path.with_name(file)
    return graph, weights_file, _tensors(weights_file, group["weights"])


def _tensors(path: Path, entries: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    data = read_file(path, "weights file", _MAX_WEIGHTS, ArtifactError)
    start, tensors = 0, {}
    for entry in entries:
        stored = (entry.get("quantization") or entry)["dtype"]
        if stored not in _TYPES:
            raise ValueError(f"{entry['name']!r:.80} is stored as {stored!r:.20}")
        shape, kind = [int(side) for side in entry["shape"]], _TYPES[stored]
        size = math.prod(shape) * kind.itemsize
        if size < 0 or start + size > len(data):
            raise ValueError(f"{path} ends before {entry['name']!r:.80}")
        array = np.frombuffer(data, kind, math.prod(shape), start).reshape(shape)
        tensors[str(entry["name"])] = torch.from_numpy(array.astype(np.float32))
        start += size
    if start != len(data):
        raise ValueError(f"{path} has {len(data)} bytes, and its weights take {start}")
    return tensors


def _origin(path: Path, graph: dict[str, Any]) -> str:
    """Tell package, version, licence and maker, as far as the files beside the graph do."""
    source = str(graph.get("generatedBy", "")) or "an unknown maker"
    for folder in path.resolve().parents[:2]:
        manifest = folder / "package.json"
        if manifest.is_file():
            text = read_file(manifest, "package manifest", _MAX_JSON, ArtifactError)
            told = parse_json(text, str(manifest))
            if isinstance(told, dict):
                name, version, licence = (told.get(k) for k in ("name", "version", "license"))
                return f"{path.name} of {name} {version}, {licence}; made by {source}"[:300]
    return f"{path.name}, licence unknown; made by {source}"[:300]
