"""The command fer-export."""

from __future__ import annotations

import ctypes
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from fer_edge.artifacts.manifest import ArtifactEntry, Manifest
from fer_edge.artifacts.model import DEFAULT_MODEL, Model
from fer_edge.artifacts.record import encode
from fer_edge.command import (
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
from fer_export.tensorrt.options import TRT_TARGETS, PlanOptions, add_plan_options, plan_options_of
from fer_export.tensorrt.prepared import check_precision, finish_command, read_onnx_spec

SCHEMA = "fer-export/1"

_TARGETS = (
    "onnx, onnx-fp16, onnx-int8, openvino-fp32, openvino-fp16, openvino-int8, trt-fp32, trt-fp16, "
    "trt-int8, torch, triton, all"
)
_MAX_DROP = 0.5
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
        "--out", metavar="DIR", type=Path, required=True, help="the model directory to write"
    )
    add_data_option(
        parser,
        required=False,
        use="; compare and calibrate on it, and measure accuracy (default: seeded drawings)",
    )
    add_validation_options(parser, seed=True)
    parser.add_argument(
        "--crops",
        type=int,
        metavar="N",
        help="how many pictures to compare on (default: all that the fp32 network runs on in 30 "
        "seconds, at least 32)",
    )
    parser.add_argument(
        "--half-weights",
        action="store_true",
        help="store the weights of the fp32 ONNX as float16: half the size; its answers are held "
        "to the gate of fp16",
    )
    parser.add_argument("--force", action="store_true", help="replace DIR if it exists")
    parser.add_argument("--batch", type=int, metavar="N", help="a static batch (default: dynamic)")
    _add_int8_options(parser)
    _add_plan_options(parser)
    parser.set_defaults(handler=_export)
    return run_command(parser, arguments)


def _add_int8_options(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("INT8")
    group.add_argument(
        "--calib",
        metavar="FILE",
        type=Path,
        help="a calibration set of fer-calib (default: drawn from --data)",
    )
    group.add_argument(
        "--max-drop",
        type=float,
        default=_MAX_DROP,
        metavar="POINTS",
        help="of accuracy on public-test that INT8 may cost (default: %(default)s)",
    )


def _add_plan_options(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("TensorRT")
    group.add_argument(
        "--int8-rest",
        choices=("fp16", "fp32"),
        default="fp16",
        help="what trt-int8 computes in where it is not int8 (default: %(default)s)",
    )
    group.add_argument(
        "--prepare-only",
        action="store_true",
        help="stop at the ONNX from which a device builds its engine",
    )
    add_plan_options(group)


def _export(options: Namespace) -> int:
    targets = options.target or ["onnx"]
    check_replaceable(options.out, options.force)
    if options.from_onnx is not None and (prepared := _prepared(options, targets)):
        manifest = _finish(options, prepared, targets[0])
    else:
        manifest = _build(options, targets)
    for entry in manifest.artifacts:
        _print(entry, options.out)
    artifacts = [encode(entry) for entry in manifest.artifacts]
    write_result(options, {"schema": SCHEMA, "out": str(options.out), "artifacts": artifacts})
    return 0


def _build(options: Namespace, targets: list[str]) -> Manifest:
    with requires("export"):
        from fer_export.context import ExportOptions
        from fer_export.pipeline import export_model
        from fer_export.source import from_checkpoint, from_onnx

        _give_back_freed_memory()
        source = (
            from_checkpoint(options.weights) if options.weights else from_onnx(options.from_onnx)
        )
        return export_model(
            source,
            options.out,
            targets,
            options=ExportOptions(
                data=data_of(options) if options.data else None,
                crops=options.crops,
                half_weights=options.half_weights,
                calibration=options.calib,
                allowed_drop=options.max_drop / 100,
                batch=options.batch,
                prepare_only=options.prepare_only,
                int8_rest=options.int8_rest,
                plan=_plan_options(options),
            ),
            force=options.force,
            report=say,
        )


def _give_back_freed_memory() -> None:
    """Make glibc return freed blocks of a megabyte or more to the system at once.

    Without this, exporting a ViT-B/16 needs 0.7 GB more memory.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 1 << 20)


def _finish(options: Namespace, prepared: Path, target: str) -> Manifest:
    """Build the engine of a prepared ONNX: on a device, without torch and onnx."""
    from fer_export.finishing import finish_plan

    if options.prepare_only:
        check_precision(prepared, target)
        command = finish_command(prepared, target, options.out, _plan_options(options))
        hint = ""
        if target == "trt-int8" and str(prepared) != options.from_onnx:  # a whole directory
            hint = ". With --data or --calib, int8 beside float16 is prepared from its fp32 model"
        raise ConfigurationError(f"{prepared} is prepared already; on the device: {command}{hint}")
    of_the_onnx = {
        "--batch": options.batch is not None,
        "--calib": options.calib is not None,
        "--max-drop": options.max_drop != _MAX_DROP,
    }
    if given := [flag for flag, was_given in of_the_onnx.items() if was_given]:
        raise ConfigurationError(
            f"{prepared} is built as it is: leave out {', '.join(given)}, or start from the fp32 "
            "model"
        )
    return finish_plan(
        prepared,
        options.out,
        target,
        options=_plan_options(options),
        data=data_of(options) if options.data else None,
        crops=options.crops,
        force=options.force,
        report=say,
    )


def _prepared(options: Namespace, targets: list[str]) -> Path | None:
    """The ONNX to build an engine from, if it has the engine's precision already."""
    if len(targets) != 1 or targets[0] not in TRT_TARGETS:
        return None
    source, precision = options.from_onnx, TRT_TARGETS[targets[0]]
    if precision == "fp32" and options.prepare_only:
        return None  # any fp32 ONNX would do for an engine: this one is only checked and copied
    model = Model.open(source)
    calibrated = options.prepare_only and (options.data or options.calib)
    if model.manifest and (
        precision not in model.precisions or (precision == "int8" and calibrated)
    ):
        return None  # it is made from the fp32 one first
    artifact = model.artifact("tensorrt", precision, formats=("onnx",))
    own = read_onnx_spec(artifact.path).precision
    return artifact.path if own == precision or own != "fp32" else None


def _plan_options(options: Namespace) -> PlanOptions:
    found, out = plan_options_of(options), options.out.resolve()
    return replace(
        found, timing_cache=found.timing_cache or out.with_name(f"{out.name}.timing-cache")
    )


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
