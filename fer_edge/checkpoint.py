"""Checkpoints: trained weights as safetensors, with their ModelSpec in the metadata.

There is no pickle on this path. Needs the ``torch`` extra.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from fer_edge import network
from fer_edge.errors import ArtifactError, ConfigurationError
from fer_edge.files import atomic_path
from fer_edge.spec import METADATA_KEY, ModelSpec

__all__ = ["load", "read_spec", "save"]


def save(path: Path, weights: dict[str, torch.Tensor], spec: ModelSpec) -> None:
    """Write weights and spec, whole or not at all."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    with atomic_path(path) as temporary:
        save_file(contiguous, temporary, metadata={METADATA_KEY: spec.to_json()})


def read_spec(path: Path) -> ModelSpec:
    """Read the spec alone. Raises ArtifactError for a file that is no checkpoint of ours."""
    with _opened(path) as stream:
        metadata = stream.metadata() or {}
    if METADATA_KEY not in metadata:
        raise ArtifactError(
            f"{path} has weights but no model spec; checkpoints are written by fer-train"
        )
    return ModelSpec.from_json(metadata[METADATA_KEY], where=f"the spec in {path}")


def load(path: Path) -> tuple[nn.Module, ModelSpec]:
    """Rebuild the network and fill it; it comes in evaluation mode on the CPU.

    Raises ArtifactError for a file that is not safetensors, lacks a spec, or whose tensors are
    not those of its architecture; the message lists what is missing, surplus or of another shape.
    """
    spec = read_spec(path)
    try:
        built = network.build(spec)
    except ConfigurationError as problem:
        raise ArtifactError(f"the network of {path} cannot be built: {problem}") from problem
    with _opened(path) as stream:
        weights = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    _check_fit(path, weights, built.state_dict(), spec)
    built.load_state_dict(weights)
    return built.eval(), spec


def _opened(path: Path) -> safe_open:
    if not path.is_file():
        raise ArtifactError(f"there is no checkpoint at {path}")
    try:
        return safe_open(path, framework="pt")
    except SafetensorError as problem:
        raise ArtifactError(f"{path} is not a safetensors file: {problem}") from problem


def _check_fit(
    path: Path, given: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor], spec: ModelSpec
) -> None:
    defects = {
        "missing": sorted(wanted.keys() - given.keys()),
        "surplus": sorted(given.keys() - wanted.keys()),
        "of another shape": sorted(
            name for name in wanted.keys() & given.keys() if wanted[name].shape != given[name].shape
        ),
    }
    found = [f"{kind}: {', '.join(names[:5])}" for kind, names in defects.items() if names]
    if found:
        raise ArtifactError(
            f"{path} does not hold a {spec.network.architecture}; {'; '.join(found)}"
        )
