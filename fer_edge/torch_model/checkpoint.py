"""Checkpoints: trained weights as safetensors, with their ModelSpec in the metadata.

There is no pickle on this path. Needs the ``torch`` extra.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from fer_edge.artifacts.artifact import MAX_BYTES, format_of
from fer_edge.artifacts.model import another_kind, import_advice
from fer_edge.artifacts.record import parse_json
from fer_edge.artifacts.spec import METADATA_KEY, ModelSpec
from fer_edge.errors import ArtifactError, ConfigurationError
from fer_edge.system.files import write_bytes
from fer_edge.system.read_file import read_file
from fer_edge.torch_model.outline import Outline

_LENGTH_BYTES = 8
"""A safetensors file starts with the length of its header, a little-endian number of 8 bytes."""

_LISTED = 5

BEST = "best.safetensors"
"""What a training calls its checkpoint."""


def save(
    path: Path, weights: dict[str, torch.Tensor], spec: ModelSpec, *, half: bool = False
) -> None:
    """Write weights and spec, whole or not at all.

    ``half`` halves the file: tensors of two and more dimensions are stored as float16, and the
    precision in the stored spec says so. Vectors, which hold the statistics and scales of norms,
    keep their type. Raises OSError where the file cannot be written.
    """
    stored = {
        name: tensor.half() if half and tensor.is_floating_point() and tensor.ndim > 1 else tensor
        for name, tensor in weights.items()
    }
    spec = spec.with_changes(precision="fp16" if half else "fp32")
    write_tensors(path, stored, {METADATA_KEY: spec.to_json()})


def write_tensors(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """Write safetensors, whole or not at all. Raises OSError, as for a full disk."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(path, safetensors.torch.save(plain, metadata))


def read_spec(path: Path) -> ModelSpec:
    """Read the whole file and return its spec, whose precision is that of the stored weights.

    Raises ArtifactError for a file that is not a checkpoint of ours.
    """
    return _parsed(_read(path), path)[1]


def load(path: str | Path) -> tuple[nn.Module, ModelSpec]:
    """Rebuild the network and fill it; it comes in evaluation mode on the CPU.

    Network and spec are fp32, whatever precision the weights were stored in. Raises ArtifactError
    for a file that is not safetensors, lacks a spec, or holds other tensors than its architecture
    has; the message lists what is missing, surplus or of another shape or type. Shapes are compared
    before anything is computed, so the size of the file limits the cost of loading it, whatever its
    spec asks for.
    """
    path = Path(path)
    return load_bytes(_read(path), path)


def load_bytes(data: bytes, path: Path) -> tuple[nn.Module, ModelSpec]:
    """Do as ``load`` does with the bytes of the file at ``path``."""
    weights, spec = _parsed(data, path)
    spec = spec.with_changes(precision="fp32")
    return _filled(spec, weights, path), spec


def refuse_state(path: Path, metadata: Mapping[str, str], names: Iterable[str]) -> None:
    """Raise ArtifactError for the state of a training, which a file's header tells."""
    if "state" in metadata and any(name.startswith("averaged.") for name in names):
        raise ArtifactError(
            f"{path} is the state of a training that is not finished; give the checkpoint "
            f"{path.with_name(BEST)} beside it"
        )


def _read(path: Path) -> bytes:
    if (path / BEST).is_file():
        raise ArtifactError(f"a folder was given; give the checkpoint in it, {path / BEST}")
    return read_file(path, "checkpoint", MAX_BYTES, ArtifactError)


def _parsed(data: bytes, path: Path) -> tuple[dict[str, torch.Tensor], ModelSpec]:
    """The tensors as they are stored, and the spec."""
    try:
        weights = safetensors.torch.load(data)
    except SafetensorError as problem:
        if format_of(path) is None:
            raise ArtifactError(another_kind(path)) from problem
        raise ArtifactError(f"{path} is not a safetensors file: {problem}") from problem
    except (KeyError, TypeError, ValueError, RuntimeError, AssertionError) as problem:
        # safetensors knows types and empty shapes for which torch has no tensor
        raise ArtifactError(
            f"{path} holds a tensor that this torch cannot read: {problem!r}; store it as fp32"
        ) from problem
    # safetensors has checked the header but does not return it: its length, then JSON
    text = data[_LENGTH_BYTES:][: int.from_bytes(data[:_LENGTH_BYTES], "little")]
    header = cast("dict[str, Any]", parse_json(text, f"the header of {path}"))
    metadata = header.get("__metadata__") or {}
    if not (spec := metadata.get(METADATA_KEY)):
        refuse_state(path, metadata, weights)
        raise ArtifactError(f"{path} has weights but no model spec. {import_advice(path)}")
    return weights, ModelSpec.from_json(spec, where=f"the spec in {path}")


def _filled(spec: ModelSpec, weights: dict[str, torch.Tensor], path: Path) -> nn.Module:
    try:
        outline = Outline(spec, weights)
        if defects := told(misfits(outline.wanted, weights)):
            raise ArtifactError(f"{path} does not hold a {spec.network.architecture}; {defects}")
        return outline.filled().eval()
    except ConfigurationError as problem:
        raise ArtifactError(f"the network of {path} cannot be built: {problem}") from problem


def misfits(
    wanted: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor]
) -> dict[str, list[str]]:
    """Find the tensors that do not fit a network, by what is wrong with them."""
    shared = sorted(wanted.keys() & given.keys())
    return {
        "missing": sorted(wanted.keys() - given.keys()),
        "surplus": sorted(given.keys() - wanted.keys()),
        "of another shape": [
            f"{n:.100} {tuple(given[n].shape)} for {tuple(wanted[n].shape)}"
            for n in shared
            if wanted[n].shape != given[n].shape
        ],
        "of another type": [
            n for n in shared if wanted[n].is_floating_point() != given[n].is_floating_point()
        ],
    }


def told(defects: Mapping[str, Sequence[str]]) -> str:
    """Put defects into words, with five names of each; empty where there are none."""
    found: list[str] = []
    for kind, names in defects.items():
        found += [f"{kind}: {listed(names)}"] if names else []
    return "; ".join(found)


def listed(names: Sequence[str]) -> str:
    """The first five of some names, and how many more there are."""
    shown = ", ".join(f"{name:.150}" for name in names[:_LISTED])
    return f"{shown} and {len(names) - _LISTED} more" if len(names) > _LISTED else shown
