"""TensorRT's builder: one code path from 10.3 to 11, networks always strongly typed.

A layer computes in the type that the ONNX has: TensorRT 11 has no flag to change it, and none is
used in 10.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tensorrt as trt

from fer_edge.artifacts.plan import Gpu
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.backends.cuda import describe_gpu, on_gpu
from fer_edge.backends.tensorrt import load_engine
from fer_edge.errors import ArtifactError, ConfigurationError, EngineError
from fer_edge.system.files import write_bytes
from fer_edge.system.progress import progress
from fer_export.tensorrt.monitor import BuildLog, BuildMonitor, Interrupt, catch_interrupt
from fer_export.tensorrt.options import PlanOptions

_INPUT = "crop"
_BYTES_PER_MB = 1 << 20
_NO_DLA = ((10, 8, 0), (11, 4, 1))
"""From the first of these releases until the second, TensorRT builds nothing for a DLA."""


@dataclass(frozen=True, eq=False)
class BuiltEngine:
    """A plan and what is known about it; ``inspection`` is the engine inspector's JSON."""

    plan: bytes
    inspection: str
    batches: tuple[int, int, int]
    tensorrt: str
    gpu: Gpu


def build_engine(
    model: bytes, spec: ModelSpec, options: PlanOptions, report: Callable[[str], None]
) -> BuiltEngine:
    """Build an engine from an ONNX file's bytes, and inspect it.

    Raises ConfigurationError for options that this TensorRT or this model lacks, EngineError
    without a usable GPU and if the build fails, ArtifactError if the parser refuses the model, and
    KeyboardInterrupt soon after Ctrl-C.
    """
    _check_release(options)
    gpu = describe_gpu(options.gpu)
    log = BuildLog(report, verbose=options.verbose)
    with on_gpu(options.gpu), catch_interrupt() as interrupt:
        plan, batches = _build(model, spec, options, log, interrupt)
        interrupt.check()
        inspection = _inspect(plan, spec, batches[1], options, log)
    return BuiltEngine(plan, inspection, batches, trt.__version__, gpu)


def _check_release(options: PlanOptions) -> None:
    """Refuse what this release of TensorRT lacks."""
    if not hasattr(trt.HardwareCompatibilityLevel, _level(options)):
        raise ConfigurationError(
            f"TensorRT {trt.__version__} has no --hardware-compat {options.hardware}; leave it out "
            "to build for this GPU alone, or install a later TensorRT"
        )
    release = tuple(map(int, trt.__version__.split(".")[:3]))
    if options.dla_core is not None and _NO_DLA[0] <= release < _NO_DLA[1]:
        raise ConfigurationError(
            f"TensorRT {trt.__version__} cannot build for a deep learning accelerator; releases up "
            "to 10.7 can, and 11.4.1 and later on AGX Orin. Leave out --dla-core, or install one "
            "of those"
        )


def _build(
    model: bytes, spec: ModelSpec, options: PlanOptions, log: BuildLog, interrupt: Interrupt
) -> tuple[bytes, tuple[int, int, int]]:
    builder = _builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = _parse(model, network, log)
    interrupt.check()
    config = builder.create_builder_config()
    _configure(builder, config, options)
    batches = _add_profile(builder, config, network, spec, options)
    timings = _use_timing_cache(config, options.timing_cache, log)
    log.clear()  # TensorRT survived these errors, so they are not why a build fails
    try:
        with progress(100, "building") as bar:
            config.progress_monitor = BuildMonitor(bar, interrupt)
            plan = builder.build_serialized_network(network, config)
    finally:
        _keep_timing_cache(config, options.timing_cache, log)
    # the builder needs both until here: the parser owns the weights, and nothing owns the cache
    del parser, timings
    interrupt.check()
    if plan is None:
        raise EngineError(f"TensorRT {trt.__version__} could not build the engine: {log.reason()}")
    return bytes(plan), batches


def _builder(log: BuildLog) -> trt.Builder:
    try:
        return trt.Builder(log)
    except TypeError as problem:  # what pybind11 makes of a null pointer
        raise EngineError(
            f"TensorRT {trt.__version__} does not start; it needs a usable GPU and its driver: "
            f"{log.reason()}"
        ) from problem


def _parse(model: bytes, network: trt.INetworkDefinition, log: BuildLog) -> trt.OnnxParser:
    """Fill the network. The parser that is returned must live until the engine is built."""
    parser = trt.OnnxParser(network, log)
    if parser.parse(model):
        return parser
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    messages = [f"{error.node_name() or 'the model'}: {error.desc()}" for error in errors]
    raise ArtifactError(
        f"TensorRT {trt.__version__} cannot read this ONNX: {'; '.join(messages) or log.reason()}. "
        "Export it again with fer-export, or report the operator that it names"
    )


def _configure(builder: trt.Builder, config: trt.IBuilderConfig, options: PlanOptions) -> None:
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mb * _BYTES_PER_MB)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    # fp32 is computed in fp32: TensorRT would silently choose TF32, which has 10 bits
    config.clear_flag(trt.BuilderFlag.TF32)
    if options.opt_level is not None:
        config.builder_optimization_level = options.opt_level
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.hardware != "this-gpu":
        level = getattr(trt.HardwareCompatibilityLevel, _level(options))
        config.hardware_compatibility_level = level
    if options.dla_core is not None:
        if options.dla_core >= builder.num_DLA_cores:
            raise ConfigurationError(
                f"there is no DLA core {options.dla_core}: this device has "
                f"{builder.num_DLA_cores}, counted from 0; leave out --dla-core to build for the "
                "GPU alone"
            )
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = options.dla_core
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)


def _level(options: PlanOptions) -> str:
    """TensorRT's name for the GPUs that a plan is built for."""
    return "NONE" if options.hardware == "this-gpu" else options.hardware.upper().replace("-", "_")


def _add_profile(
    builder: trt.Builder,
    config: trt.IBuilderConfig,
    network: trt.INetworkDefinition,
    spec: ModelSpec,
    options: PlanOptions,
) -> tuple[int, int, int]:
    """Give a dynamic batch its range; a static one has its own."""
    size = network.get_input(0).shape[0]
    batches = options.min_batch, options.opt_batch, options.max_batch
    if size >= 0:
        asked = batches != (PlanOptions.min_batch, PlanOptions.opt_batch, PlanOptions.max_batch)
        if asked and set(batches) != {size}:
            raise ConfigurationError(
                f"this ONNX has a static batch of {size}, and batches of {batches[0]} to "
                f"{batches[2]} were asked for; leave these options out, or prepare the ONNX "
                "without --batch"
            )
        return size, size, size
    profile = builder.create_optimization_profile()
    smallest, best, largest = (trt.Dims([batch, *spec.input.shape]) for batch in batches)
    profile.set_shape(_INPUT, smallest, best, largest)
    if config.add_optimization_profile(profile) < 0:
        raise EngineError(f"TensorRT refuses batches of {batches} for crops {spec.input.shape}")
    return batches


def _use_timing_cache(
    config: trt.IBuilderConfig, path: Path | None, log: BuildLog
) -> trt.ITimingCache:
    """Attach the timings of earlier builds; the result must live until the engine is built.

    For a cache that is damaged or of another release, TensorRT logs an error and makes an empty
    one; it does not attach one of another GPU.
    """
    kept = b""
    try:
        kept = path.read_bytes() if path and path.exists() else b""
    except OSError as problem:
        log.report(f"the timing cache {path} cannot be read ({problem.strerror})")
    log.clear()
    cache = config.create_timing_cache(kept)
    attached = cache is not None and config.set_timing_cache(cache, False)
    if log.errors or not attached:
        log.report(
            f"the timing cache {path} is of no use here: it is damaged, or of another GPU or "
            "TensorRT. Everything is timed again, and the file is replaced; name another file with "
            "--timing-cache to keep both"
        )
    if not attached:
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache


def _keep_timing_cache(config: trt.IBuilderConfig, path: Path | None, log: BuildLog) -> None:
    """Write what was timed, after a failed or interrupted build too."""
    cache = config.get_timing_cache()
    if cache is None or path is None:
        return
    try:
        if path.exists() and not os.access(path, os.W_OK):  # it could be replaced nevertheless
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        write_bytes(path, bytes(cache.serialize()))
    except OSError as problem:
        log.report(
            f"the timing cache {path} cannot be written ({problem.strerror}), so the next build "
            "takes as long; name another place with --timing-cache"
        )


def _inspect(plan: bytes, spec: ModelSpec, batch: int, options: PlanOptions, log: BuildLog) -> str:
    """Load the plan as the runtime will, and ask it what its layers compute in."""
    engine = load_engine(
        plan,
        log,
        where="the new plan",
        host_code=options.version_compatible,
        dla_core=options.dla_core,
    )
    inspector = engine.create_engine_inspector()
    context = engine.create_execution_context()
    if context is None or not context.set_input_shape(_INPUT, (batch, *spec.input.shape)):
        raise EngineError(f"TensorRT built an engine that it cannot run: {log.reason()}")
    # without shapes the inspector lists no types ("N/A due to dynamic shapes")
    inspector.execution_context = context
    return str(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
