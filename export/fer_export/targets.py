"""The targets: what fer-export can build, as a table from name to maker."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from fer_edge.artifacts.plan import sidecar_path
from fer_edge.backends import BACKENDS
from fer_edge.errors import (
    ArtifactError,
    ConfigurationError,
    GateError,
    MissingDependencyError,
)
from fer_edge.system.dependencies import requires
from fer_export.built import Built
from fer_export.context import ExportContext
from fer_export.race import Run
from fer_export.tensorrt import (
    LAYERS_SUFFIX,
    TRT_TARGETS,
    build_plan,
    diagnostic_commands,
    finish_command,
)

__all__ = ["ALL", "TARGETS", "check_targets", "expand", "has_tensorrt", "make"]

ALL = "all"
_WINS_BY = 0.02
"""How much faster a form of INT8 has to be to win: smaller differences of medians are noise."""

Maker = Callable[[ExportContext], list[Built]]


def _onnx(context: ExportContext) -> list[Built]:
    context.save(context.stored_artifact(), "model.onnx")
    return [Built("model.onnx", "onnx", "fp32")]


def _onnx_half(context: ExportContext) -> list[Built]:
    context.save(context.half_artifact(), "model.fp16.onnx")
    return [Built("model.fp16.onnx", "onnx-fp16", "fp16")]


def _openvino_float(context: ExportContext) -> list[Built]:
    return [_ir(context.save(context.float_artifact(), "model.xml"), "fp32")]


def _openvino_half(context: ExportContext) -> list[Built]:
    return [_ir(context.save(context.half_artifact(), "model.fp16.xml"), "fp16")]


def _ir(path: Path, precision: str) -> Built:
    target = f"openvino-{precision}"
    return Built(path.name, target, precision, ("openvino",), (f"{path.stem}.bin",))


def _plain_int8(context: ExportContext) -> list[Built]:
    plain = context.save(context.quantized_artifact("canonical"), "model.int8.onnx")
    context.prove(plain, "onnxruntime")
    return [Built(plain.name, "onnx-int8", "int8")]


def _onnx_int8(context: ExportContext) -> list[Built]:
    """Build the plain Q/DQ graph, and the form for ONNX Runtime where that one wins."""
    built = _plain_int8(context)
    rival = _int8_form(context, "onnxruntime", "model.int8.onnxruntime.onnx", "onnxruntime")
    if rival is None:
        return built
    if _wins(context, rival, context.folder / built[0].file, "onnxruntime"):
        return [*built, Built(rival.name, "onnx-int8", "int8", ("onnxruntime",))]
    _remove(rival)
    return built


def _trt_int8(context: ExportContext) -> list[Built]:
    """Build what a TensorRT engine in int8 is made from: int8 beside fp16, or the plain graph."""
    if context.options.int8_rest == "fp32":
        return _plain_int8(context)
    mixed = context.save(context.mixed_artifact(), "model.int8.tensorrt.onnx")
    return [Built(mixed.name, "trt-int8", "int8", ("tensorrt",), proved_by=("onnxruntime",))]


def _openvino_int8(context: ExportContext) -> list[Built]:
    """Build the plain Q/DQ form and the one for OpenVINO, and keep the better."""
    plain = _int8_form(context, "canonical", "model.int8.xml", "openvino")
    rival = _int8_form(context, "openvino", "model.int8.openvino.xml", "openvino")
    kept = plain or rival
    if kept is None:
        raise GateError("openvino-int8: no form of INT8 keeps the answers; see the lines above")
    if plain and rival:
        kept, other = (rival, plain) if _wins(context, rival, plain, "openvino") else (plain, rival)
        _remove(other)
    return [_ir(kept, "int8")]


def _int8_form(context: ExportContext, scheme: str, file: str, backend: str) -> Path | None:
    """Build and prove a form of INT8; None where it cannot be made or changes the answers."""
    path = context.folder / file
    try:
        context.prove(context.save(context.quantized_artifact(scheme), file), backend)
    except (ArtifactError, GateError) as problem:
        context.note(f"int8 on {backend}: the form {scheme} is left out: {problem}")
        _remove(path)
        return None
    return path


def _wins(context: ExportContext, rival: Path, kept: Path, backend: str) -> bool:
    """Whether a form is faster here, or as fast and more accurate; says so either way."""
    runs = {path.name: Run(path.name, backend, "int8") for path in (rival, kept)}
    times = context.race(runs).p50_ms
    gain = 1 - times[rival.name] / times[kept.name]
    drops = [
        measured.accuracy.drop if measured.accuracy else 0.0
        for measured in (context.prove(rival, backend), context.prove(kept, backend))
    ]
    wins = gain > _WINS_BY or (abs(gain) <= _WINS_BY and drops[0] < drops[1])
    context.note(
        f"int8 on {backend}: {rival.name} takes {times[rival.name]:.3f} ms, {kept.name} "
        f"{times[kept.name]:.3f} ms; accuracy drops {drops[0]:.2%} and {drops[1]:.2%}; "
        f"{rival.name if wins else kept.name} is kept"
    )
    return wins


def _remove(path: Path) -> None:
    for file in (path, path.with_suffix(".bin")):
        file.unlink(missing_ok=True)


def _torch(context: ExportContext) -> list[Built]:
    if context.source.checkpoint is None:
        raise ConfigurationError("the target torch is the checkpoint itself: give --weights")
    shutil.copyfile(context.source.checkpoint, context.folder / "model.safetensors")
    return [Built("model.safetensors", "torch", "fp32", ("torch",))]


def _triton(context: ExportContext) -> list[Built]:
    with requires("triton"):
        from fer_export.triton import write_repository

    built = make(context, _onnx)
    artifact = context.folder / "model.onnx"
    made = write_repository(context.folder / "triton", context.name, artifact, context.source.spec)
    files = sorted(p.relative_to(context.folder).as_posix() for p in made.rglob("*") if p.is_file())
    model = next(file for file in files if file.endswith(".onnx"))
    rest = tuple(file for file in files if file != model)
    served = Built(model, "triton", "fp32", ("triton",), rest, proved_by=("onnxruntime",))
    return [*built, served]


def _plan(target: str, prepare: Maker) -> Maker:
    def build(context: ExportContext) -> list[Built]:
        prepared = make(context, prepare)
        onnx_path = context.folder / prepared[0].file
        _check_for_tensorrt(onnx_path)
        plan_options = context.options.plan
        if context.options.prepare_only or not has_tensorrt():
            out = context.out
            command = finish_command(
                out / prepared[0].file, target, Path(f"{out}-{target}"), plan_options
            )
            context.note(f"{target}: prepared; finish it on the device: {command}")
            return prepared
        plan = onnx_path.with_suffix(".plan")
        built = build_plan(onnx_path, plan, target, options=plan_options, report=context.report)
        try:
            context.prove(plan, "tensorrt")
        except GateError as problem:
            raise GateError(
                f"{problem}. To see whether TensorRT itself is wrong, run: "
                f"{diagnostic_commands(Path(onnx_path.name), built)}"
            ) from problem
        companions = sidecar_path(plan).name, f"{plan.name}{LAYERS_SUFFIX}"
        return [*prepared, Built(plan.name, target, TRT_TARGETS[target], ("tensorrt",), companions)]

    return build


def _check_for_tensorrt(path: Path) -> None:
    import onnx

    from fer_export.tensorrt.lint import check_model

    check_model(onnx.load(path), path.name)


TARGETS: dict[str, Maker] = {
    "onnx": _onnx,
    "onnx-fp16": _onnx_half,
    "onnx-int8": _onnx_int8,
    "openvino-fp32": _openvino_float,
    "openvino-fp16": _openvino_half,
    "openvino-int8": _openvino_int8,
    "trt-fp32": _plan("trt-fp32", _onnx),
    "trt-fp16": _plan("trt-fp16", _onnx_half),
    "trt-int8": _plan("trt-int8", _trt_int8),
    "torch": _torch,
    "triton": _triton,
}


def make(context: ExportContext, maker: Maker) -> list[Built]:
    """Run a maker, once for each export."""
    made: dict[Maker, list[Built]] = context.made
    if maker not in made:
        made[maker] = maker(context)
    return made[maker]


def check_targets(
    names: Iterable[str], *, prepare_only: bool = False, batch: int | None = None
) -> None:
    """Refuse what cannot be built here, before any work is done.

    Raises ConfigurationError for an unknown target, and for ``triton`` with a static ``batch``;
    MissingDependencyError where OpenVINO, TensorRT or Triton's definitions are needed and missing.
    """
    names = list(names)
    if unknown := [name for name in names if name not in TARGETS and name != ALL]:
        raise ConfigurationError(
            f"unknown target {', '.join(unknown)}; there are {', '.join(TARGETS)}, {ALL}"
        )
    plans = [name for name in names if name in TRT_TARGETS]
    if plans and not prepare_only and not has_tensorrt():
        raise MissingDependencyError(
            "tensorrt",
            "tensorrt",
            advice=f"{plans[0]} is built on the device itself; add --prepare-only to make the ONNX "
            "that it is built from",
        )
    if any(name.startswith(("openvino", ALL)) for name in names):
        with requires("openvino"):
            from fer_edge.backends.openvino_runtime import ov  # noqa: F401
    if "triton" in names:
        _check_for_triton(batch)


def expand(
    names: Iterable[str],
    *,
    from_checkpoint: bool,
    batch: int | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """Resolve ``all`` and drop repetitions.

    ``all`` leaves out ``torch`` without a checkpoint, and ``triton`` where it cannot be built;
    ``report`` is told the reason.
    """
    asked = list(dict.fromkeys(names))
    if ALL not in asked:
        return asked
    every = [name for name in TARGETS if name != "torch" or from_checkpoint]
    if "triton" not in asked:
        try:
            _check_for_triton(batch)
        except (ConfigurationError, MissingDependencyError) as problem:
            report(f"triton is left out: {problem}")
            every.remove("triton")
    return every


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
