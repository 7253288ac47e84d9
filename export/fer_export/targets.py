"""The targets: what fer-export can build, as a table from name to maker."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from fer_calib.nncf_form import NNCF
from fer_edge.artifacts.plan import sidecar_path
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.backends import BACKENDS
from fer_edge.errors import (
    ArtifactError,
    ConfigurationError,
    GateError,
    MissingDependencyError,
)
from fer_edge.system.dependencies import requires
from fer_export.latency import Run
from fer_export.tensorrt import TRT_TARGETS, build_plan, finish_command
from fer_export.workshop import Workshop

__all__ = ["ALL", "TARGETS", "Built", "check_targets", "expand", "has_tensorrt", "make"]

ALL = "all"
_OPENVINO_FORMS = {
    "canonical": "model.int8.xml",
    "openvino": "model.int8.openvino.xml",
    NNCF: "model.int8.nncf.xml",
}
"""What competes for the target openvino-int8: forms of INT8, and their files."""

_WINS_BY = 0.02
"""A variant is kept for speed only where it is faster by this share, which a median resolves."""


@dataclass(frozen=True)
class Built:
    """A file of the model directory, the backends it was made for (none: all that open it), and
    the files that belong to it; ``proved_by`` overrides who proves it.
    """

    file: str
    target: str
    precision: str
    backends: tuple[str, ...] = ()
    companions: tuple[str, ...] = ()
    proved_by: tuple[str, ...] = ()


Maker = Callable[[Workshop], list[Built]]


def _onnx(shop: Workshop) -> list[Built]:
    shop.save(shop.float_artifact(), "model.onnx")
    return [Built("model.onnx", "onnx", "fp32")]


def _onnx_half(shop: Workshop) -> list[Built]:
    shop.save(shop.half_artifact(), "model.fp16.onnx")
    return [Built("model.fp16.onnx", "onnx-fp16", "fp16")]


def _onnx_int8(shop: Workshop) -> list[Built]:
    """Build the canonical graph, and the form that ONNX Runtime likes where that one wins."""
    canonical = shop.save(shop.quantized_artifact("canonical"), "model.int8.onnx")
    built = [Built(canonical.name, "onnx-int8", "int8")]
    shop.prove(canonical, "onnxruntime")
    variant = _variant(shop, "onnxruntime", "model.int8.onnxruntime.onnx")
    if variant is None:
        return built
    if _wins(shop, variant, canonical, "onnxruntime"):
        return [*built, Built(variant.name, "onnx-int8", "int8", ("onnxruntime",))]
    variant.unlink()
    return built


def _openvino_float(shop: Workshop) -> list[Built]:
    return [_ir(shop, "openvino-fp32", "fp32", shop.float_artifact, "model.xml")]


def _openvino_half(shop: Workshop) -> list[Built]:
    return [_ir(shop, "openvino-fp16", "fp16", shop.half_artifact, "model.fp16.xml")]


def _openvino_int8(shop: Workshop) -> list[Built]:
    """Build the canonical form, the one for OpenVINO and NNCF's, and keep the best."""
    tried = [_openvino_form(shop, form, file) for form, file in _OPENVINO_FORMS.items()]
    made = [path for path in tried if path is not None]
    if not made:
        raise GateError("openvino-int8: no form of INT8 keeps the answers; see the lines above")
    kept = made[0]
    for rival in made[1:]:
        kept = rival if _wins(shop, rival, kept, "openvino") else kept
    for path in made:
        if path != kept:
            _remove(path)
    return [Built(kept.name, "openvino-int8", "int8", ("openvino",), (f"{kept.stem}.bin",))]


def _torch(shop: Workshop) -> list[Built]:
    if shop.source.checkpoint is None:
        raise ConfigurationError("the target torch is the checkpoint itself: give --weights")
    shutil.copyfile(shop.source.checkpoint, shop.folder / "model.safetensors")
    return [Built("model.safetensors", "torch", "fp32", ("torch",))]


def _triton(shop: Workshop) -> list[Built]:
    with requires("serve"):
        from fer_export.triton import write_repository

    built = make(shop, _onnx)
    spec = shop.source.spec
    made = write_repository(shop.folder / "triton", shop.name, shop.folder / "model.onnx", spec)
    files = sorted(p.relative_to(shop.folder).as_posix() for p in made.rglob("*") if p.is_file())
    model = next(file for file in files if file.endswith(".onnx"))
    rest = tuple(file for file in files if file != model)
    return [
        *built,
        Built(model, "triton", "fp32", ("triton",), rest, proved_by=("onnxruntime",)),
    ]


def _plan(target: str, prepare: Maker) -> Maker:
    def build(shop: Workshop) -> list[Built]:
        prepared = make(shop, prepare)
        onnx_path = shop.folder / prepared[0].file
        _check_for_tensorrt(shop, onnx_path)
        if shop.options.prepare_only or not has_tensorrt():
            final = Path(shop.name)
            command = finish_command(
                final / prepared[0].file, target, Path(f"{final}-{target}"), shop.options.plan
            )
            shop.note(f"{target}: prepared; finish it on the device: {command}")
            return prepared
        plan = onnx_path.with_suffix(".plan")
        build_plan(onnx_path, plan, target, options=shop.options.plan, report=shop.report)
        precision = TRT_TARGETS[target]
        return [
            *prepared,
            Built(plan.name, target, precision, ("tensorrt",), (sidecar_path(plan).name,)),
        ]

    return build


TARGETS: dict[str, Maker] = {
    "onnx": _onnx,
    "onnx-fp16": _onnx_half,
    "onnx-int8": _onnx_int8,
    "openvino-fp32": _openvino_float,
    "openvino-fp16": _openvino_half,
    "openvino-int8": _openvino_int8,
    "trt-fp32": _plan("trt-fp32", _onnx),
    "trt-fp16": _plan("trt-fp16", _onnx_half),
    "trt-int8": _plan("trt-int8", _onnx_int8),
    "torch": _torch,
    "triton": _triton,
}


def make(shop: Workshop, maker: Maker) -> list[Built]:
    """Run a maker, once for each workshop."""
    made: dict[Maker, list[Built]] = shop.made
    if maker not in made:
        made[maker] = maker(shop)
    return made[maker]


def check_targets(
    names: Iterable[str], *, prepare_only: bool = False, batch: int | None = None
) -> None:
    """Refuse what cannot be built here, before any work is done.

    Raises ConfigurationError for an unknown target, and for ``triton`` with a static ``batch``;
    MissingDependencyError where TensorRT is asked for and not installed, or Triton's definitions.
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
            f"{plans[0]} is built on the device itself; --prepare-only makes what it builds from",
        )
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
    with requires("serve"):
        from tritonclient import grpc  # noqa: F401


def has_tensorrt() -> bool:
    """Whether what the TensorRT backend imports is installed."""
    return BACKENDS["tensorrt"].missing() is None


def _ir(
    shop: Workshop, target: str, precision: str, artifact: Callable[[], object], file: str
) -> Built:
    with requires("openvino"):
        from fer_export.openvino_ir import from_onnx, save_ir

    spec = _spec_of(shop, precision)
    weights = save_ir(from_onnx(artifact()), spec, shop.folder / file)  # type: ignore[arg-type]
    return Built(file, target, precision, ("openvino",), (weights.name,))


def _spec_of(shop: Workshop, precision: str) -> ModelSpec:
    spec = shop.source.spec.with_changes(precision=precision)
    if precision != "int8":
        return spec
    return spec.with_provenance(calibration_sha256=shop.calibration.sha256)


def _variant(shop: Workshop, scheme: str, file: str) -> Path | None:
    """Another form of the INT8 graph, proved; None where it does not keep the answers."""
    try:
        path = shop.save(shop.quantized_artifact(scheme), file)
        shop.prove(path, scheme)
    except GateError as problem:
        shop.note(f"int8: the form for {scheme} is left out: {problem}")
        _remove(shop.folder / file)
        return None
    return path


def _openvino_form(shop: Workshop, form: str, file: str) -> Path | None:
    """A form of INT8 as IR, proved; None where it does not keep the answers, or cannot be made."""
    path = shop.folder / file
    try:
        _ir(shop, "openvino-int8", "int8", lambda: shop.quantized_artifact(form), file)
        shop.prove(path, "openvino")
    except MissingDependencyError as problem:
        if problem.package != NNCF:
            raise
        shop.note(f"openvino-int8: the form {form} was not tried: {problem}")
        return None
    except (ArtifactError, GateError) as problem:
        shop.note(f"openvino-int8: the form {form} is left out: {problem}")
        _remove(path)
        return None
    return path


def _wins(shop: Workshop, rival: Path, kept: Path, backend: str) -> bool:
    """Whether a form is faster here, or as fast and more accurate; says so either way."""
    times = shop.race({path.name: Run(path.name, backend, "int8") for path in (rival, kept)})
    gain = 1 - times[rival.name] / times[kept.name]
    drops = [
        measured.accuracy.drop if measured.accuracy else 0.0
        for measured in (shop.prove(rival, backend), shop.prove(kept, backend))
    ]
    wins = gain > _WINS_BY or (abs(gain) <= _WINS_BY and drops[0] < drops[1])
    shop.note(
        f"int8 on {backend}: {rival.name} takes {times[rival.name]:.3f} ms, {kept.name} "
        f"{times[kept.name]:.3f} ms; accuracy drops {drops[0]:.2%} and {drops[1]:.2%}; "
        f"{rival.name if wins else kept.name} serves"
    )
    return wins


def _check_for_tensorrt(shop: Workshop, path: Path) -> None:
    import onnx

    from fer_export.tensorrt.lint import check_model

    check_model(onnx.load(path), path.name)


def _remove(path: Path) -> None:
    for file in (path, path.with_suffix(".bin")):
        file.unlink(missing_ok=True)
