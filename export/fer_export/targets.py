"""The targets: what fer-export can build, as a table from name to maker."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import onnx

from fer_edge.artifacts.manifest import ArtifactEntry
from fer_edge.backends import BACKENDS
from fer_edge.errors import ArtifactError, ConfigurationError, GateError, MissingDependencyError
from fer_edge.system.dependencies import requires
from fer_export.context import ExportContext
from fer_export.options import ExportOptions
from fer_export.race import Run
from fer_export.tensorrt.building import build_plan, naming_nvidias_tools, plan_entry
from fer_export.tensorrt.lint import check_model
from fer_export.tensorrt.options import TRT_TARGETS
from fer_export.tensorrt.prepared import finish_command

ALL = "all"
_WINS_BY = 0.02
"""How much faster a form of INT8 has to be to win: smaller differences of medians are noise."""

Maker = Callable[[ExportContext], ArtifactEntry]
"""Builds the artifacts of a target and returns the main one; a plan is built from it."""


def _form(target: str, file: str, artifact: Callable[[ExportContext], onnx.ModelProto]) -> Maker:
    return lambda context: context.add(target, file, lambda: artifact(context))


_onnx = _form("onnx", "model.onnx", ExportContext.stored_artifact)
_onnx_half = _form("onnx-fp16", "model.fp16.onnx", ExportContext.half_artifact)


def _plain_int8(context: ExportContext) -> ArtifactEntry:
    """Build the plain Q/DQ graph."""
    plain = context.add(
        "onnx-int8", "model.int8.onnx", lambda: context.quantized_artifact("canonical")
    )
    context.prove(plain.file, "onnxruntime")
    return plain


def _onnx_int8(context: ExportContext) -> ArtifactEntry:
    """Build the plain Q/DQ graph, and the form for ONNX Runtime if it is better there."""
    plain, file = _plain_int8(context), "model.int8.onnxruntime.onnx"
    built = _own_int8(context, "onnx-int8", file, "onnxruntime")
    if built and not _wins(context, file, plain.file):
        context.remove(file)
    return plain


def _openvino_int8(context: ExportContext) -> ArtifactEntry:
    """Build the form for OpenVINO, or the plain one where that would change the answers."""
    target, file = "openvino-int8", "model.int8.openvino.xml"
    if _own_int8(context, target, file, "openvino"):
        return context.entries[file]
    return context.add(target, "model.int8.xml", lambda: context.quantized_artifact("canonical"))


def _own_int8(context: ExportContext, target: str, file: str, engine: str) -> bool:
    """Build an engine's own form of INT8; False if it cannot be made or changes the answers."""
    try:
        context.add(target, file, lambda: context.quantized_artifact(engine), (engine,))
        context.prove(file, engine)
    except (ArtifactError, GateError) as problem:
        context.note(f"int8 on {engine}: its own form is left out: {problem}")
        context.remove(file)
        return False
    return True


def _trt_int8(context: ExportContext) -> ArtifactEntry:
    """Build the ONNX for a TensorRT engine in int8: int8 with fp16 for the rest, or plain Q/DQ."""
    if context.options.int8_rest == "fp32":
        return _plain_int8(context)
    file = "model.int8.tensorrt.onnx"
    return context.add("trt-int8", file, context.mixed_artifact, ("tensorrt",))


def _wins(context: ExportContext, new: str, old: str) -> bool:
    """Whether ONNX Runtime is faster with a form here, or as fast and more accurate."""
    runs = {file: Run(file, "onnxruntime", "int8") for file in (new, old)}
    times = context.race(runs).p50_ms
    gain = 1 - times[new] / times[old]
    measured = [context.prove(file, "onnxruntime").accuracy for file in (new, old)]
    drops = [accuracy.drop if accuracy else 0.0 for accuracy in measured]
    wins = gain > _WINS_BY or (abs(gain) <= _WINS_BY and drops[0] < drops[1])
    context.note(
        f"int8 on onnxruntime: {new} takes {times[new]:.3f} ms, {old} {times[old]:.3f} ms; "
        f"accuracy drops {drops[0]:.2%} and {drops[1]:.2%}; {new if wins else old} is kept"
    )
    return wins


def _torch(context: ExportContext) -> ArtifactEntry:
    if context.source.checkpoint is None:
        raise ConfigurationError("the target torch is the checkpoint itself: give --weights")
    file = "model.safetensors"
    shutil.copyfile(context.source.checkpoint, context.folder / file)
    return context.register(file, "torch", "fp32", backends=("torch",))


def _triton(context: ExportContext) -> ArtifactEntry:
    with requires("triton"):
        from fer_export.triton import write_repository

    model, folder = context.folder / _onnx(context).file, context.folder
    made = write_repository(folder / "triton", context.name, model, context.source.spec)
    files = sorted(p.relative_to(folder).as_posix() for p in made.rglob("*") if p.is_file())
    served = next(file for file in files if file.endswith(".onnx"))
    rest = tuple(file for file in files if file != served)
    return context.register(served, "triton", "fp32", backends=("triton",), companions=rest)


def _plan(target: str, prepare: Maker) -> Maker:
    def build(context: ExportContext) -> ArtifactEntry:
        prepared, plan_options = prepare(context), context.options.plan
        path = context.folder / prepared.file
        check_model(onnx.load(path), path.name)
        if context.options.prepare_only or not has_tensorrt():
            finished = Path(f"{context.out}-{target}")
            command = finish_command(context.out / path.name, target, finished, plan_options)
            context.note(f"{target}: prepared; finish it on the device: {command}")
            return prepared
        plan = path.with_suffix(".plan")
        built = build_plan(path, plan, target, options=plan_options, report=context.report)
        with naming_nvidias_tools(Path(path.name), built):
            context.prove(plan.name, "tensorrt")
        context.entries[plan.name] = plan_entry(plan, target)
        return prepared

    return build


TARGETS: dict[str, Maker] = {
    "onnx": _onnx,
    "onnx-fp16": _onnx_half,
    "onnx-int8": _onnx_int8,
    "openvino-fp32": _form("openvino-fp32", "model.xml", ExportContext.float_artifact),
    "openvino-fp16": _form("openvino-fp16", "model.fp16.xml", ExportContext.half_artifact),
    "openvino-int8": _openvino_int8,
    "trt-fp32": _plan("trt-fp32", _onnx),
    "trt-fp16": _plan("trt-fp16", _onnx_half),
    "trt-int8": _plan("trt-int8", _trt_int8),
    "torch": _torch,
    "triton": _triton,
}


def choose(
    names: Iterable[str],
    options: ExportOptions,
    *,
    from_checkpoint: bool,
    report: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """Resolve ``all``, drop repetitions, and refuse what cannot be built here before any work.

    ``all`` leaves out ``torch`` without a checkpoint, and ``triton`` if it cannot be built, for a
    reason that is reported. Raises ConfigurationError for an unknown target, and for ``triton``
    with a static batch; MissingDependencyError where OpenVINO, TensorRT or Triton's definitions are
    needed and missing.
    """
    asked = list(dict.fromkeys(names))
    if unknown := [name for name in asked if name not in (*TARGETS, ALL)]:
        raise ConfigurationError(
            f"unknown target {', '.join(unknown)}; there are {', '.join(TARGETS)}, {ALL}"
        )
    plans = [name for name in asked if name in TRT_TARGETS]
    if plans and not options.prepare_only and not has_tensorrt():
        raise MissingDependencyError(
            "tensorrt",
            "tensorrt",
            advice=f"{plans[0]} is built on the device itself; add --prepare-only to make the ONNX "
            "that it is built from",
        )
    chosen = asked
    if ALL in asked:
        chosen = [n for n in TARGETS if n in asked or n != "torch" or from_checkpoint]
    if any(name.startswith("openvino") for name in chosen):
        with requires("openvino"):
            from fer_edge.backends.openvino_runtime import ov  # noqa: F401
    if "triton" in chosen:
        try:
            _check_for_triton(options.batch)
        except (ConfigurationError, MissingDependencyError) as problem:
            if "triton" in asked:
                raise
            report(f"triton is left out: {problem}")
            chosen.remove("triton")
    return chosen


def _check_for_triton(batch: int | None) -> None:
    if batch is not None:
        raise ConfigurationError(
            "Triton makes batches of every size, and --batch fixes one; leave one of them out"
        )
    with requires("triton"):
        from tritonclient import grpc  # noqa: F401


def has_tensorrt() -> bool:
    """Whether what the TensorRT backend imports is installed."""
    return BACKENDS["tensorrt"].missing() is None
