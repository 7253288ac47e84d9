"""fer-export as a call: a float network in, a proved model directory out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fer_edge.errors import GateError
from fer_edge.files import new_folder, sha256_of
from fer_edge.machine import cpu_name
from fer_edge.manifest import (
    ArtifactEntry,
    Companion,
    GoldenCrop,
    Manifest,
    MeasuredLatency,
    Measurement,
)
from fer_edge.preprocess import preprocess
from fer_edge.synthetic import synthetic_crops
from fer_export.latency import Run, ratios
from fer_export.replacing import check_replaceable, keep_report
from fer_export.report import write_report
from fer_export.source import Source
from fer_export.targets import TARGETS, Built, check_targets, expand, make
from fer_export.workshop import ExportOptions, Workshop, runnable_backends

__all__ = ["export_model"]

_GOLDEN_CROPS = 4
_PREFERRED = ("int8", "fp32", "fp16")
"""Which precision a Predictor loads when its caller names none: the first that was built."""


def export_model(
    source: Source,
    out: Path,
    targets: Sequence[str],
    *,
    options: ExportOptions = ExportOptions(),
    force: bool = False,
    report: Callable[[str], None] = lambda _: None,
) -> Manifest:
    """Build and prove every target, then put the model directory in place in one step.

    ``source`` comes from ``from_checkpoint`` or ``from_onnx``; ``report`` receives a line per step.
    Raises ConfigurationError for an unknown target or an ``out`` that holds anything (``force``
    replaces a model directory, and nothing else), DataError for a data or calibration set that
    cannot be used, MissingDependencyError and EngineError where a target needs what this machine
    lacks, and GateError for an artifact that is not equal to its network; in every case ``out``
    stays as it was. After a GateError what INT8 costs each layer, where it was measured, stands
    beside ``out``, in the folder that the message names.
    """
    check_replaceable(out, force)
    check_targets(targets, prepare_only=options.prepare_only)
    names = expand(targets, from_checkpoint=source.checkpoint is not None)
    with new_folder(out) as folder:
        shop = Workshop(source, folder, out.resolve().name, options, report)
        try:
            built = {one.file: one for name in names for one in make(shop, TARGETS[name])}
            entries = [_entry(shop, one) for one in built.values()]
        except GateError as problem:
            if kept := keep_report(folder, out):
                raise GateError(f"{problem}. The cost of each layer is kept in {kept}") from problem
            raise
        entries = _with_latencies(shop, entries)
        precisions = {entry.precision for entry in entries}
        manifest = Manifest(
            name=shop.name,
            precision=next(p for p in _PREFERRED if p in precisions),
            artifacts=tuple(entries),
            golden=_golden_crops(source),
        ).sealed()
        write_report(shop, manifest)
        manifest.write(folder)
    return manifest


def _entry(shop: Workshop, built: Built) -> ArtifactEntry:
    path = shop.folder / built.file
    backends = built.proved_by or runnable_backends(built.file, built.backends)
    measured = [shop.prove(path, backend) for backend in backends]
    return ArtifactEntry(
        file=built.file,
        sha256=sha256_of(path),
        size_bytes=path.stat().st_size,
        target=built.target,
        precision=built.precision,
        companions=tuple(_companion(shop.folder, name) for name in built.companions),
        backends=built.backends,
        measured=tuple(measured),
    )


def _companion(folder: Path, name: str) -> Companion:
    path = folder / name
    return Companion(name, sha256_of(path), path.stat().st_size)


def _with_latencies(shop: Workshop, entries: list[ArtifactEntry]) -> list[ArtifactEntry]:
    """Measure all artifacts on all their backends side by side, and compare the precisions."""
    shop.report("measuring latency")
    pairs = [(entry, one) for entry in entries for one in entry.measured]
    runs = {
        f"{entry.file} {one.backend}": Run(entry.file, one.backend, entry.precision)
        for entry, one in pairs
    }
    floats = [run for run in runs.values() if (run.backend, run.precision) == ("openvino", "fp32")]
    if floats:  # what OpenVINO would choose by itself, where the processor has it
        runs["bf16"] = replace(floats[0], precision="bf16", inference_precision="bf16")
    times = shop.race(runs)
    for line in ratios(runs, times):
        shop.note(line)

    def timed(entry: ArtifactEntry, one: Measurement) -> Measurement:
        p50 = times[f"{entry.file} {one.backend}"]
        return replace(one, latency=MeasuredLatency(p50, 1, cpu_name()))

    return [
        replace(entry, measured=tuple(timed(entry, one) for one in entry.measured))
        for entry in entries
    ]


def _golden_crops(source: Source) -> tuple[GoldenCrop, ...]:
    """Gray and colour, shrinking and growing: one drawing each, as the reference answers it."""
    drawn = synthetic_crops(_GOLDEN_CROPS, seed=1)
    raw = [drawn[0], drawn[1][:, :, 1], drawn[2][10:80, 20:60], drawn[3][40:72, 40:72, 0]]
    pixels = [np.ascontiguousarray(crop) for crop in raw]
    tensors = np.empty((len(pixels), *source.spec.input.shape), np.uint8)
    for crop, row in zip(pixels, tensors, strict=True):
        preprocess(crop, source.spec.input, row)
    answers = source.answers(tensors).astype(np.float32)
    return tuple(map(GoldenCrop.of, pixels, tensors, answers))
