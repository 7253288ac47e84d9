"""The command fer-export."""

from __future__ import annotations

import ctypes
from argparse import Namespace
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from fer_edge.artifacts.manifest import ArtifactEntry, Manifest
from fer_edge.artifacts.model import DEFAULT_MODEL, Model, model_path
from fer_edge.artifacts.record import encode
from fer_edge.command import (
    Output,
    add_data_option,
    add_validation_options,
    command_parser,
    data_of,
    run_command,
    say,
    write_result,
)
from fer_edge.errors import ConfigurationError
from fer_edge.system.dependencies import requires
from fer_export.model_directory import check_replaceable
from fer_export.options import ExportOptions
from fer_export.tensorrt.options import TRT_TARGETS, PlanOptions, add_options, options_of
from fer_export.tensorrt.prepared import check_precision, finish_command, read_onnx_spec

SCHEMA = "fer-export/1"

_TARGETS = (
    "onnx, onnx-fp16, onnx-int8, openvino-fp32, openvino-fp16, openvino-int8, trt-fp32, trt-fp16, "
    "trt-int8, torch, triton, all"
)
_M_MMAP_THRESHOLD = -3  # malloc.h


def main(arguments: Sequence[str] | None = None) -> int:
    """Run fer-export; returns the exit code."""
    parser = command_parser(
        "fer-export",
        "Export a network to artifacts, and compare each with the network that it came from.",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--weights", metavar="FILE", type=Path, help="a checkpoint of fer-train")
    source.add_argument(
        "--from-onnx",
        metavar="FILE",
        help=f"an ONNX of ours instead: fp32 (a file, a model directory or {DEFAULT_MODEL}), or "
        "one that --prepare-only made, to build its engine",
    )
    parser.add_argument(
        "--target",
        action="append",
        metavar="TARGET",
        help=f"what to build; may be repeated: {_TARGETS} (default: onnx)",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        action=Output,
        required=True,
        help="the model directory to write",
    )
    add_data_option(
        parser,
        required=False,
        use="; compare and calibrate on it, and measure accuracy (default: seeded drawings)",
    )
    add_validation_options(parser, seed=True)
    parser.add_argument("--force", action="store_true", help="replace DIR if it exists")
    add_options(parser, ExportOptions)
    add_options(parser.add_argument_group("TensorRT"), PlanOptions)
    parser.set_defaults(handler=_export)
    return run_command(parser, arguments)


def _export(given: Namespace) -> int:
    onnx = model_path(given.from_onnx) if given.from_onnx else None
    read = (given.weights, onnx, given.data, given.calibration)
    check_replaceable(given.out, given.force, [path for path in read if path])
    targets, options = given.target or ["onnx"], _options(given)
    if given.from_onnx is not None and (prepared := _prepared(given.from_onnx, targets, options)):
        manifest = _finish(given, prepared, targets[0], options)
    else:
        manifest = _build(given, targets, options)
    for entry in manifest.artifacts:
        _print(entry, given.out)
    artifacts = [encode(entry) for entry in manifest.artifacts]
    write_result(given, {"schema": SCHEMA, "out": str(given.out), "artifacts": artifacts})
    return 0


def _options(given: Namespace) -> ExportOptions:
    plan, out = options_of(PlanOptions, given), given.out.resolve()
    cache = plan.timing_cache or out.with_name(f"{out.name}.timing-cache")
    return options_of(
        ExportOptions,
        given,
        data=data_of(given) if given.data else None,
        plan=replace(plan, timing_cache=cache),
    )


def _build(given: Namespace, targets: list[str], options: ExportOptions) -> Manifest:
    with requires("export"):
        from fer_export.pipeline import export_model
        from fer_export.source import from_checkpoint, from_onnx

        _give_back_freed_memory()
        source = from_checkpoint(given.weights) if given.weights else from_onnx(given.from_onnx)
        return export_model(
            source, given.out, targets, options=options, force=given.force, report=say
        )


def _give_back_freed_memory() -> None:
    """Make glibc return freed blocks of a megabyte or more to the system at once.

    Without this, exporting a ViT-B/16 needs 0.7 GB more memory.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 1 << 20)


def _finish(given: Namespace, prepared: Path, target: str, options: ExportOptions) -> Manifest:
    """Build the engine of a prepared ONNX: on a device, without torch and onnx."""
    from fer_export.finishing import finish_plan

    if options.prepare_only:
        check_precision(prepared, target)
        command = finish_command(prepared, target, given.out, options.plan)
        hint = ""
        if target == "trt-int8" and str(prepared) != given.from_onnx:  # a whole directory
            hint = ". With --data or --calib, int8 beside float16 is prepared from its fp32 model"
        raise ConfigurationError(f"{prepared} is prepared already; on the device: {command}{hint}")
    of_the_onnx = {
        "--batch": options.batch is not None,
        "--calib": options.calibration is not None,
        "--max-drop": options.allowed_drop != ExportOptions.allowed_drop,
    }
    if too_late := [flag for flag, was_given in of_the_onnx.items() if was_given]:
        raise ConfigurationError(
            f"{prepared} is built as it is: leave out {', '.join(too_late)}, or start from the "
            "fp32 model"
        )
    return finish_plan(prepared, given.out, target, options=options, force=given.force, report=say)


def _prepared(source: str, targets: list[str], options: ExportOptions) -> Path | None:
    """The ONNX to build an engine from, if it has the engine's precision already."""
    if len(targets) != 1 or targets[0] not in TRT_TARGETS:
        return None
    precision = TRT_TARGETS[targets[0]]
    if precision == "fp32" and options.prepare_only:
        return None  # any fp32 ONNX would do for an engine: this one is only checked and copied
    model = Model.open(source)
    calibrated = options.prepare_only and (options.data or options.calibration)
    if model.manifest and (
        precision not in model.precisions or (precision == "int8" and calibrated)
    ):
        return None  # it is made from the fp32 one first
    artifact = model.artifact("tensorrt", precision, formats=("onnx",))
    own = read_onnx_spec(artifact.path).precision
    return artifact.path if own == precision or own != "fp32" else None


def _print(entry: ArtifactEntry, out: Path) -> None:
    size = entry.size_bytes + sum(file.size_bytes for file in entry.companions)
    print(f"{out / entry.file}  {entry.target}  {entry.precision}  {size / 1e6:.2f} MB")
    for one in entry.measured:
        parity, accuracy = one.parity, one.accuracy
        line = (
            f"  {one.backend}: max |Δp| {parity.max_probability_difference:.1e}, top-1 agreement "
            f"{parity.top1_agreement:.2%} on {parity.crops} crops ({parity.crops_from})"
        )
        if accuracy:
            low, high = accuracy.accuracy_ci95
            line += f", accuracy {accuracy.accuracy:.2%} [{low:.2%}, {high:.2%}]"
        if one.latency:
            line += f", {one.latency.p50_ms:.3f} ms"
        print(line)
