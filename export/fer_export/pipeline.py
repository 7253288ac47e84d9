"""fer-export as a call: a float network in, a proved model directory out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from fer_edge.artifacts.manifest import (
    ArtifactEntry,
    Companion,
    Manifest,
    MeasuredLatency,
    Measurement,
)
from fer_edge.errors import GateError
from fer_edge.system.files import new_folder, sha256_of
from fer_edge.system.machine import cpu_name
from fer_export.golden import golden_crops
from fer_export.latency import Run, ratios
from fer_export.replacing import check_replaceable, keep_report
from fer_export.report import write_report
from fer_export.source import Source
from fer_export.targets import TARGETS, Built, check_targets, expand, make
from fer_export.workshop import ExportOptions, Workshop, runnable_backends

__all__ = ["export_model"]

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
    check_targets(targets, prepare_only=options.prepare_only, batch=options.batch)
    with new_folder(out) as folder:
        shop = Workshop(source, folder, out.resolve().name, options, report)
        names = expand(
            targets,
            from_checkpoint=source.checkpoint is not None,
            batch=options.batch,
            report=shop.note,
        )
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
            golden=golden_crops(source.spec.input, source.answers),
        ).sealed()
        write_report(folder, manifest, shop.crops, reference="the fp32 reference", notes=shop.notes)
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
        name = f"{entry.file} {one.backend}"
        return replace(one, latency=MeasuredLatency(times[name], runs[name].threads, cpu_name()))

    return [
        replace(entry, measured=tuple(timed(entry, one) for one in entry.measured))
        for entry in entries
    ]
