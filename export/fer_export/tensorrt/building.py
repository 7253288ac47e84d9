"""Building a plan from a prepared ONNX, and proving its precision."""

from __future__ import annotations

import hashlib
import importlib
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from fer_edge.artifacts.manifest import ArtifactEntry
from fer_edge.artifacts.plan import PlanSidecar, sidecar_path, trust_plan
from fer_edge.errors import ConfigurationError, GateError
from fer_edge.system.files import write_bytes
from fer_export.model_directory import artifact_entry
from fer_export.tensorrt.options import TRT_TARGETS, PlanOptions
from fer_export.tensorrt.precision import check_kernels, describe, read_kernels, shares
from fer_export.tensorrt.prepared import check_precision

_DEFAULTS = PlanOptions()


def build_plan(
    onnx_path: Path,
    out_plan: Path,
    target: str,
    *,
    options: PlanOptions = _DEFAULTS,
    report: Callable[[str], None] = lambda _: None,
) -> PlanSidecar:
    """Build ``out_plan`` and its sidecar, and record on this machine that it was built here.

    ``target`` is one of ``TRT_TARGETS``. ``report`` receives a line per step and TensorRT's
    warnings.

    Raises ConfigurationError for an unknown target, a wrong suffix, an ONNX of another precision,
    and options that this TensorRT lacks; ArtifactError for an ONNX that cannot be read or that
    TensorRT's parser refuses; MissingDependencyError without TensorRT or cuda-python; EngineError
    without a usable GPU and where the build fails; GateError where a convolution or matrix product
    of the ONNX is not in its precision. Then nothing is written but the timing cache, and after a
    GateError the inspector's JSON beside that cache.
    """
    if out_plan.suffix != ".plan":
        raise ConfigurationError(f"a plan is a file NAME.plan, not {out_plan}")
    prepared = check_precision(onnx_path, target)
    importlib.import_module("fer_edge.backends.tensorrt")  # says what is missing, and how to get it
    from fer_export.tensorrt.builder import build_engine

    spec, products = prepared.spec, prepared.products
    cache = options.timing_cache or out_plan.with_suffix(".timing-cache")
    options = replace(options, timing_cache=cache)
    report(f"{target}: building, which takes minutes on a small device")
    built = build_engine(prepared.data, spec, options, report)
    kernels = read_kernels(built.inspection)
    try:
        check_kernels(kernels, products, spec.precision, out_plan.name)
    except GateError as problem:
        listing = cache.with_name(_listing_of(out_plan).name)
        write_bytes(listing, built.inspection.encode())
        raise GateError(f"{problem}. What TensorRT says of each layer: {listing}") from problem
    smallest, best, largest = built.batches
    sidecar = PlanSidecar(
        spec=spec,
        plan_sha256=hashlib.sha256(built.plan).hexdigest(),
        tensorrt=built.tensorrt,
        gpu=built.gpu,
        min_batch=smallest,
        opt_batch=best,
        max_batch=largest,
        inference_precision=spec.precision,
        shares=shares(products),
        layers=describe(kernels, products),
        hardware=options.hardware,
        version_compatible=options.version_compatible,
        dla_core=options.dla_core,
    )
    write_bytes(out_plan, built.plan)
    write_bytes(_listing_of(out_plan), built.inspection.encode())
    sidecar.write(out_plan)
    trust_plan(sidecar.plan_sha256, out_plan)
    split = ", ".join(f"{share:.0%} {precision}" for precision, share in sidecar.shares.items())
    report(
        f"{target}: {len(kernels)} layers; of {len(products)} convolutions and matrix products "
        f"{split}"
    )
    return sidecar


def plan_entry(plan: Path, target: str) -> ArtifactEntry:
    """The manifest's entry for a plan with its sidecar and the inspector's listing."""
    files = sidecar_path(plan).name, _listing_of(plan).name
    precision = TRT_TARGETS[target]
    return artifact_entry(
        plan.parent, plan.name, target, precision, backends=("tensorrt",), companions=files
    )


@contextmanager
def naming_nvidias_tools(onnx: Path, sidecar: PlanSidecar) -> Iterator[None]:
    """Add to a GateError the commands that show whether the fault is TensorRT's own."""
    try:
        yield
    except GateError as problem:
        raise GateError(
            f"{problem}. To see whether TensorRT itself is wrong, run: "
            f"{diagnostic_commands(onnx, sidecar)}"
        ) from problem


def _listing_of(plan: Path) -> Path:
    """Where the engine inspector's own JSON is kept."""
    return plan.with_name(f"{plan.name}.layers.json")


def diagnostic_commands(onnx: Path, sidecar: PlanSidecar) -> str:
    """The commands of NVIDIA's own tools that build and compare what ``sidecar`` describes."""
    height, width, channels = sidecar.spec.input.shape
    batches = {"min": sidecar.min_batch, "opt": sidecar.opt_batch, "max": sidecar.max_batch}
    dynamic = sidecar.min_batch != sidecar.max_batch
    trtexec = ["trtexec", f"--onnx={onnx}", "--noTF32", "--profilingVerbosity=detailed"]
    if sidecar.tensorrt.startswith("10."):  # always so from 11 on
        trtexec.append("--stronglyTyped")
    polygraphy = ["polygraphy", "run", str(onnx), "--trt", "--onnxrt", "--strongly-typed"]
    polygraphy += ["--val-range", "crop:[0,255]", "--atol", "0.01"]
    if dynamic:
        for name, batch in batches.items():
            trtexec.append(f"--{name}Shapes=crop:{batch}x{height}x{width}x{channels}")
            shape = f"crop:[{batch},{height},{width},{channels}]"
            polygraphy += [f"--trt-{name}-shapes", shape]
        polygraphy += ["--input-shapes", f"crop:[{sidecar.opt_batch},{height},{width},{channels}]"]
    return f"{shlex.join(trtexec)}; {shlex.join(polygraphy)}"
