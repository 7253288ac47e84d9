"""fer-export as a call: a checkpoint in, a proved model directory out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from torch import nn

from fer_edge import checkpoint
from fer_edge.errors import ArtifactError, ConfigurationError
from fer_edge.files import new_folder, sha256_of
from fer_edge.manifest import MANIFEST, ArtifactEntry, GoldenCrop, Manifest
from fer_edge.predictor import Predictor
from fer_edge.preprocess import preprocess
from fer_edge.spec import ModelSpec
from fer_edge.synthetic import synthetic_crops
from fer_export.contract import attach_contract
from fer_export.core import export_core
from fer_export.verification import EvaluationCrops, evaluation_crops, verify

__all__ = ["TARGETS", "Target", "export_model"]

_GOLDEN_CROPS = 4


@dataclass(frozen=True)
class Target:
    """One thing that can be built: its file, its precision, who builds it and what runs it."""

    file: str
    precision: str
    backend: str
    build: Callable[[nn.Module, ModelSpec, Path], None]


def _build_onnx(network: nn.Module, spec: ModelSpec, path: Path) -> None:
    onnx.save(attach_contract(export_core(network, spec), spec), path)


TARGETS: dict[str, Target] = {"onnx": Target("model.onnx", "fp32", "onnxruntime", _build_onnx)}


def export_model(
    weights: Path,
    out: Path,
    targets: Sequence[str],
    *,
    data: Path | None = None,
    force: bool = False,
    report: Callable[[str], None] = lambda _: None,
) -> Manifest:
    """Build and prove every target, then put the model directory in place in one step.

    ``data`` is FER2013 in any of its forms; without it artifacts are compared on seeded drawings
    and no accuracy is measured. ``report`` receives a line per step. Raises ConfigurationError
    for an unknown target or an ``out`` that holds anything (``force`` replaces a model directory,
    and nothing else), ArtifactError for a checkpoint that does not fit, DataError for a data set
    that cannot be used and GateError for an artifact that is not equal to its network; in every
    case ``out`` stays as it was.
    """
    if unknown := [name for name in targets if name not in TARGETS]:
        raise ConfigurationError(
            f"unknown target {', '.join(unknown)}; there are {', '.join(TARGETS)}"
        )
    _check_replaceable(out, force)
    network, spec = checkpoint.load(weights)
    spec = spec.with_provenance(parent_sha256=sha256_of(weights))
    source = _Source(network, spec, evaluation_crops(spec, data))
    with new_folder(out) as folder:
        entries = []
        for name in dict.fromkeys(targets):
            report(f"{name}: building, and comparing on {len(source.crops.tensors)} crops")
            entries.append(_make(name, source, folder))
        manifest = Manifest(
            name=out.name,
            precision=entries[0].precision,
            artifacts=tuple(entries),
            golden=_golden_crops(folder / entries[0].file),
        ).sealed()
        manifest.write(folder)
    return manifest


def _check_replaceable(out: Path, force: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not force:
        raise ConfigurationError(f"{out} exists; give --force to replace it, or another --out")
    try:
        known = {MANIFEST, *(entry.file for entry in Manifest.read(out).artifacts)}
    except ArtifactError:
        known = set()
    if unknown := {path.name for path in out.iterdir()} - known:
        raise ConfigurationError(
            f"{out} holds {min(unknown)}, which no export wrote, so it is not replaced; "
            "remove it yourself, or give another --out"
        )


@dataclass(frozen=True, eq=False)
class _Source:
    network: nn.Module
    spec: ModelSpec
    crops: EvaluationCrops


def _make(name: str, source: _Source, folder: Path) -> ArtifactEntry:
    target = TARGETS[name]
    path = folder / target.file
    spec = source.spec.with_changes(precision=target.precision)
    target.build(source.network, spec, path)
    parity, accuracy = verify(path, target.backend, source.network, spec, source.crops)
    return ArtifactEntry(
        file=target.file,
        sha256=sha256_of(path),
        size_bytes=path.stat().st_size,
        target=name,
        precision=target.precision,
        parity=parity,
        accuracy=accuracy,
    )


def _golden_crops(artifact: Path) -> tuple[GoldenCrop, ...]:
    """Gray and colour, shrinking and growing: one drawing of each kind."""
    drawn = synthetic_crops(_GOLDEN_CROPS, seed=1)
    raw = [drawn[0], drawn[1][:, :, 1], drawn[2][10:80, 20:60], drawn[3][40:72, 40:72, 0]]
    golden = []
    with Predictor(artifact) as predictor:
        spec = predictor.info.spec.input
        for pixels in map(np.ascontiguousarray, raw):
            tensor = np.empty(spec.shape, np.uint8)
            preprocess(pixels, spec, tensor)
            golden.append(GoldenCrop.of(pixels, tensor, predictor.predict(pixels).probabilities))
    return tuple(golden)
