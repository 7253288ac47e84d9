"""fer-export as a call: from a float network to a model directory whose artifacts are proved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from fer_edge.artifacts.artifact import backends_for
from fer_edge.artifacts.manifest import ArtifactEntry, Manifest, MeasuredLatency, Measurement
from fer_edge.backends import BACKENDS
from fer_edge.errors import GateError
from fer_edge.system.files import new_folder
from fer_edge.system.machine import Machine, cpu_name
from fer_export.context import ExportContext
from fer_export.model_directory import check_replaceable, keep_report
from fer_export.options import ExportOptions
from fer_export.race import Run, ratios
from fer_export.report import write_report
from fer_export.source import Source
from fer_export.targets import TARGETS, choose

_PREFERRED = ("int8", "fp32", "fp16")
"""The manifest's default precision is the first of these that was built."""


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
    lacks, and GateError for an artifact that does not answer as its network does. ``out`` then
    stays as it was. After a GateError the cost of each layer in INT8, if it was measured, is kept
    in a folder that the message names.
    """
    check_replaceable(out, force)
    left_out: list[str] = []
    from_checkpoint = source.checkpoint is not None
    names = choose(targets, options, from_checkpoint=from_checkpoint, report=left_out.append)
    with new_folder(out) as folder:
        context = ExportContext(source, folder, out, options, report)
        for reason in left_out:
            context.note(reason)
        try:
            for name in names:
                TARGETS[name](context)
            context.release()
            entries = [_proved(context, entry) for entry in context.entries.values()]
        except GateError as problem:
            if kept := keep_report(folder, out):
                raise GateError(f"{problem}. The cost of each layer is kept in {kept}") from problem
            raise
        entries = _with_latencies(context, entries)
        # an ONNX that a plan is built from is no default, because no backend opens it as it is
        usable = [
            e for e in entries if not e.backends or {m.backend for m in e.measured} & {*e.backends}
        ]
        precisions = {entry.precision for entry in usable or entries}
        manifest = Manifest(
            name=context.name,
            precision=next(p for p in _PREFERRED if p in precisions),
            artifacts=tuple(entries),
            golden=context.golden,
            notes=tuple(context.notes),
        ).sealed()
        write_report(folder, manifest, context.crops, reference="the fp32 reference")
        manifest.write(folder)
    return manifest


def _proved(context: ExportContext, entry: ArtifactEntry) -> ArtifactEntry:
    """Compare an artifact with the reference on every backend of this machine that opens it."""
    fitting = backends_for(entry.file, entry.backends)
    installed = [name for name in fitting if BACKENDS[name].missing() is None]
    if "openvino" in installed and _overflows(entry):
        installed.remove("openvino")
        context.note(
            f"{entry.file} is not compared on OpenVINO: this processor has no VNNI, so sums of its "
            "8-bit weights overflow there; openvino-int8 has 7-bit weights"
        )
    # ONNX Runtime opens what is made for Triton or for building a plan
    measured = tuple(context.prove(entry.file, name) for name in installed or ["onnxruntime"])
    return replace(entry, measured=measured)


def _overflows(entry: ArtifactEntry) -> bool:
    """Whether OpenVINO adds products of this artifact's 8-bit weights in 16 bits here.

    So it does on x86 without VNNI; the forms that are made for an engine have 7 bits.
    """
    extensions = " ".join(Machine().cpu_extensions())
    return (
        entry.precision == "int8"
        and not entry.backends
        and "AVX2" in extensions
        and "VNNI" not in extensions
    )


def _with_latencies(context: ExportContext, entries: list[ArtifactEntry]) -> list[ArtifactEntry]:
    """Measure all artifacts on all their backends side by side, and compare the precisions."""
    context.report("measuring latency")
    runs = {
        f"{entry.file} {one.backend}": Run(entry.file, one.backend, entry.precision)
        for entry in entries
        for one in entry.measured
    }
    times = context.race(runs)
    if times.busy:
        context.note("latency was measured while other programs used the CPU: do not publish it")
    for line in ratios(runs, times.p50_ms):
        context.note(line)

    def timed(entry: ArtifactEntry, one: Measurement) -> Measurement:
        name = f"{entry.file} {one.backend}"
        latency = MeasuredLatency(times.p50_ms[name], runs[name].threads, cpu_name())
        return replace(one, latency=latency)

    return [
        replace(entry, measured=tuple(timed(entry, one) for one in entry.measured))
        for entry in entries
    ]
