"""The targets: what fer-export can build, as a table from name to maker."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from fer_edge.artifacts.manifest import ArtifactEntry
from fer_edge.backends import BACKENDS
from fer_edge.errors import ArtifactError, ConfigurationError, GateError, MissingDependencyError
from fer_edge.system.dependencies import requires
from fer_export.context import ExportContext
from fer_export.model_directory import artifact_entry
from fer_export.race import Run
from fer_export.tensorrt.building import build_plan, naming_nvidias_tools, plan_entry
from fer_export.tensorrt.options import TRT_TARGETS
from fer_export.tensorrt.prepared import finish_command

ALL = "all"
_WINS_BY = 0.02
"""How much faster a form of INT8 has to be to win: smaller differences of medians are noise."""

Maker = Callable[[ExportContext], list[ArtifactEntry]]


def _onnx(context: ExportContext) -> list[ArtifactEntry]:
    return [context.add("onnx", context.stored_artifact(), "model.onnx")]


def _onnx_half(context: ExportContext) -> list[ArtifactEntry]:
    return [context.add("onnx-fp16", context.half_artifact(), "model.fp16.onnx")]


def _openvino_float(context: ExportContext) -> list[ArtifactEntry]:
    return [context.add("openvino-fp32", context.float_artifact(), "model.xml")]


def _openvino_half(context: ExportContext) -> list[ArtifactEntry]:
    return [context.add("openvino-fp16", context.half_artifact(), "model.fp16.xml")]


def _plain_int8(context: ExportContext) -> list[ArtifactEntry]:
    plain = context.add("onnx-int8", context.quantized_artifact("canonical"), "model.int8.onnx")
    context.prove(plain.file, "onnxruntime")
    return [plain]


def _onnx_int8(context: ExportContext) -> list[ArtifactEntry]:
    """Build the plain Q/DQ graph, and the form for ONNX Runtime if it is better there."""
    (plain,) = _plain_int8(context)
    rival = _int8_form(context, "onnxruntime", "model.int8.onnxruntime.onnx", "onnxruntime")
    if rival is None:
        return [plain]
    if _wins(context, rival, plain, "onnxruntime"):
        return [plain, rival]
    _remove(context, rival.file)
    return [plain]


def _trt_int8(context: ExportContext) -> list[ArtifactEntry]:
    """Build the ONNX for a TensorRT engine in int8: int8 with fp16 for the rest, or plain Q/DQ."""
    if context.options.int8_rest == "fp32":
        return _plain_int8(context)
    mixed = context.mixed_artifact()
    return [context.add("trt-int8", mixed, "model.int8.tensorrt.onnx", ("tensorrt",))]


def _openvino_int8(context: ExportContext) -> list[ArtifactEntry]:
    """Build the plain Q/DQ form and the one for OpenVINO, and keep the better."""
    plain = _int8_form(context, "canonical", "model.int8.xml", "openvino")
    rival = _int8_form(context, "openvino", "model.int8.openvino.xml", "openvino")
    kept = plain or rival
    if kept is None:
        raise GateError("openvino-int8: no form of INT8 keeps the answers; see the lines above")
    if plain and rival:
        kept, other = (rival, plain) if _wins(context, rival, plain, "openvino") else (plain, rival)
        _remove(context, other.file)
    return [kept]


def _int8_form(
    context: ExportContext, scheme: str, file: str, backend: str
) -> ArtifactEntry | None:
    """Build a form of INT8 for one backend; None if it cannot be made or changes the answers."""
    target = "openvino-int8" if backend == "openvino" else "onnx-int8"
    try:
        entry = context.add(target, context.quantized_artifact(scheme), file, (backend,))
        context.prove(file, backend)
    except (ArtifactError, GateError) as problem:
        context.note(f"int8 on {backend}: the form {scheme} is left out: {problem}")
        _remove(context, file)
        return None
    return entry


def _wins(context: ExportContext, rival: ArtifactEntry, kept: ArtifactEntry, backend: str) -> bool:
    """Whether a form is faster here, or as fast and more accurate; reports the decision."""
    new, old = rival.file, kept.file
    times = context.race({file: Run(file, backend, "int8") for file in (new, old)}).p50_ms
    gain = 1 - times[new] / times[old]
    measured = [context.prove(file, backend).accuracy for file in (new, old)]
    drops = [accuracy.drop if accuracy else 0.0 for accuracy in measured]
    wins = gain > _WINS_BY or (abs(gain) <= _WINS_BY and drops[0] < drops[1])
    context.note(
        f"int8 on {backend}: {new} takes {times[new]:.3f} ms, {old} {times[old]:.3f} ms; accuracy "
        f"drops {drops[0]:.2%} and {drops[1]:.2%}; {new if wins else old} is kept"
    )
    return wins


def _remove(context: ExportContext, file: str) -> None:
    path = context.folder / file
    for written in (path, path.with_suffix(".bin")):
        written.unlink(missing_ok=True)


def _torch(context: ExportContext) -> list[ArtifactEntry]:
    if context.source.checkpoint is None:
        raise ConfigurationError("the target torch is the checkpoint itself: give --weights")
    file = "model.safetensors"
    shutil.copyfile(context.source.checkpoint, context.folder / file)
    return [artifact_entry(context.folder, file, "torch", "fp32", backends=("torch",))]


def _triton(context: ExportContext) -> list[ArtifactEntry]:
    with requires("triton"):
        from fer_export.triton import write_repository

    built, folder = make(context, _onnx), context.folder
    made = write_repository(
        folder / "triton", context.name, folder / "model.onnx", context.source.spec
    )
    files = sorted(p.relative_to(folder).as_posix() for p in made.rglob("*") if p.is_file())
    model = next(file for file in files if file.endswith(".onnx"))
    rest = tuple(file for file in files if file != model)
    served = artifact_entry(folder, model, "triton", "fp32", backends=("triton",), companions=rest)
    return [*built, served]


def _plan(target: str, prepare: Maker) -> Maker:
    def build(context: ExportContext) -> list[ArtifactEntry]:
        prepared, plan_options = make(context, prepare), context.options.plan
        file = prepared[0].file
        onnx_path = context.folder / file
        _check_for_tensorrt(onnx_path)
        if context.options.prepare_only or not has_tensorrt():
            out = context.out
            command = finish_command(out / file, target, Path(f"{out}-{target}"), plan_options)
            context.note(f"{target}: prepared; finish it on the device: {command}")
            return prepared
        plan = onnx_path.with_suffix(".plan")
        built = build_plan(onnx_path, plan, target, options=plan_options, report=context.report)
        with naming_nvidias_tools(Path(file), built):
            context.prove(plan.name, "tensorrt")
        return [*prepared, plan_entry(plan, target)]

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


def make(context: ExportContext, maker: Maker) -> list[ArtifactEntry]:
    """Run a maker, once for each export."""
    made: dict[Maker, list[ArtifactEntry]] = context.made
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

    ``all`` leaves out ``torch`` without a checkpoint, and ``triton`` if it cannot be built, for a
    reason that is reported.
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
