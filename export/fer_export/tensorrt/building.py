"""A plan from a prepared ONNX, with the proof of its precision beside it."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable
from pathlib import Path

from fer_edge.artifacts.plan import PlanSidecar, trust_plan
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.errors import ArtifactError, ConfigurationError
from fer_edge.system.files import write_bytes
from fer_export.tensorrt.options import TRT_TARGETS, PlanOptions
from fer_export.tensorrt.precision import check_layers, computed_in, read_layers, shares
from fer_export.tensorrt.prepared import check_precision, require_precision

__all__ = ["build_plan"]

_DEFAULTS = PlanOptions()


def build_plan(
    onnx_path: Path,
    out_plan: Path,
    target: str,
    *,
    options: PlanOptions = _DEFAULTS,
    spec: ModelSpec | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> PlanSidecar:
    """Build ``out_plan`` and its sidecar, and record on this machine that it was built here.

    ``target`` is one of ``TRT_TARGETS``; ``spec`` is for an ONNX that carries none. ``report``
    receives a line per step and TensorRT's warnings.

    Raises ConfigurationError for an unknown target, a wrong suffix or an ONNX of another
    precision; ArtifactError for an ONNX that cannot be read or that TensorRT's parser refuses;
    MissingDependencyError without TensorRT or cuda-python; EngineError without a usable GPU and
    where the build fails; GateError where the layers are not in the target's precision. Nothing
    is written then but the timing cache.
    """
    if out_plan.suffix != ".plan":
        raise ConfigurationError(f"a plan is a file NAME.plan, not {out_plan}")
    if spec is None:
        spec = check_precision(onnx_path, target)
    elif target not in TRT_TARGETS:
        raise ConfigurationError(f"unknown target {target}; there are {', '.join(TRT_TARGETS)}")
    require_precision(onnx_path, spec, target)
    importlib.import_module("fer_edge.backends.tensorrt")  # which says what is missing, and how
    from fer_export.tensorrt.builder import build_engine

    cache = options.timing_cache or out_plan.with_suffix(".timing-cache")
    report(f"{target}: building, which takes minutes on a small device")
    built = build_engine(_read(onnx_path), spec, options, cache=cache, report=report)
    layers = read_layers(built.inspection)
    check_layers(layers, spec.precision, out_plan.name)
    smallest, best, largest = built.batches
    sidecar = PlanSidecar(
        spec=spec,
        plan_sha256=hashlib.sha256(built.plan).hexdigest(),
        tensorrt=built.tensorrt,
        gpu=built.gpu,
        min_batch=smallest,
        opt_batch=best,
        max_batch=largest,
        inference_precision=computed_in(layers),
        shares=shares(layers),
        layers=layers,
        hardware_compatible=options.hardware_compatible,
        version_compatible=options.version_compatible,
    )
    write_bytes(out_plan, built.plan)
    sidecar.write(out_plan)
    trust_plan(sidecar.plan_sha256, out_plan)
    told = ", ".join(f"{share:.0%} {precision}" for precision, share in sidecar.shares.items())
    report(f"{target}: {len(layers)} layers, {told}")
    return sidecar


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise ArtifactError(f"cannot read the ONNX {path}: {problem.strerror}") from problem
