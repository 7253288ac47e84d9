"""TensorRT's builder: one code path from 10.3 to 11, networks always strongly typed.

What a layer computes in is what the ONNX says; there is no flag for it in 11, and none is used in
10.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tensorrt as trt

from fer_edge.artifacts.plan import Gpu
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.backends.cuda import current_gpu, first_gpu
from fer_edge.backends.tensorrt import load_engine
from fer_edge.errors import ArtifactError, EngineError
from fer_edge.system.files import write_bytes
from fer_edge.system.progress import progress
from fer_export.tensorrt.monitor import BuildLog, BuildMonitor
from fer_export.tensorrt.options import PlanOptions

__all__ = ["BuiltEngine", "build_engine"]

_INPUT = "crop"
_BYTES_PER_MB = 1 << 20


@dataclass(frozen=True, eq=False)
class BuiltEngine:
    """A plan's bytes and what is known of it; ``inspection`` is the engine inspector's JSON."""

    plan: bytes
    inspection: str
    batches: tuple[int, int, int]
    tensorrt: str
    gpu: Gpu


def build_engine(
    model: bytes,
    spec: ModelSpec,
    options: PlanOptions,
    *,
    cache: Path,
    report: Callable[[str], None],
) -> BuiltEngine:
    """Build an engine from an ONNX file's bytes, and inspect it.

    ``cache`` is the timing cache to use and to keep. Raises EngineError without a usable GPU and
    where the build fails, and ArtifactError where the parser refuses the model.
    """
    gpu = current_gpu()
    with first_gpu():
        return _built(model, spec, options, cache=cache, report=report, gpu=gpu)


def _built(
    model: bytes,
    spec: ModelSpec,
    options: PlanOptions,
    *,
    cache: Path,
    report: Callable[[str], None],
    gpu: Gpu,
) -> BuiltEngine:
    log = BuildLog(report)
    builder = _builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = _parse(model, network, log)
    config = builder.create_builder_config()
    _configure(config, options)
    batches = _add_profile(builder, config, network, spec, options)
    timings = _use_timing_cache(config, cache, report)
    plan = _build(builder, network, config, log)
    # the network's weights are the parser's, and the cache is the config's only by name
    del parser, timings
    _keep_timing_cache(config, cache)
    inspection = _inspect(plan, spec, batches[1], options, log)
    return BuiltEngine(plan, inspection, batches, trt.__version__, gpu)


def _builder(log: BuildLog) -> trt.Builder:
    try:
        return trt.Builder(log)
    except TypeError as problem:  # what pybind11 makes of a null pointer
        raise EngineError(
            f"TensorRT {trt.__version__} makes no builder, for want of a usable GPU or driver: "
            f"{log.reason()}"
        ) from problem


def _parse(model: bytes, network: trt.INetworkDefinition, log: BuildLog) -> trt.OnnxParser:
    """Fill the network; the parser that is returned must live until the engine is built."""
    parser = trt.OnnxParser(network, log)
    if parser.parse(model):
        return parser
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    told = [f"{error.node_name() or 'the model'}: {error.desc()}" for error in errors]
    raise ArtifactError(
        f"TensorRT {trt.__version__} cannot read this ONNX: {'; '.join(told) or log.reason()}"
    )


def _configure(config: trt.IBuilderConfig, options: PlanOptions) -> None:
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mb * _BYTES_PER_MB)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    # fp32 is computed in fp32: TF32, with its 10 bits, would be chosen silently
    config.clear_flag(trt.BuilderFlag.TF32)
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.hardware_compatible:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS


def _add_profile(
    builder: trt.Builder,
    config: trt.IBuilderConfig,
    network: trt.INetworkDefinition,
    spec: ModelSpec,
    options: PlanOptions,
) -> tuple[int, int, int]:
    """Give a dynamic batch its range; a static one has its own."""
    size = network.get_input(0).shape[0]
    if size >= 0:
        return size, size, size
    batches = options.min_batch, options.opt_batch, options.max_batch
    profile = builder.create_optimization_profile()
    smallest, best, largest = (trt.Dims([batch, *spec.input.shape]) for batch in batches)
    profile.set_shape(_INPUT, smallest, best, largest)
    if config.add_optimization_profile(profile) < 0:
        raise EngineError(f"TensorRT refuses batches of {batches} for crops {spec.input.shape}")
    return batches


def _use_timing_cache(
    config: trt.IBuilderConfig, path: Path, report: Callable[[str], None]
) -> trt.ITimingCache:
    """Attach the cache, or a new one; what is returned must live until the engine is built."""
    kept = path.read_bytes() if path.exists() else b""
    cache = config.create_timing_cache(kept)
    if cache is None or not config.set_timing_cache(cache, False):
        report(f"{path} is of another GPU or TensorRT, or damaged: timing everything again")
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache


def _keep_timing_cache(config: trt.IBuilderConfig, path: Path) -> None:
    cache = config.get_timing_cache()
    if cache is not None:
        write_bytes(path, bytes(cache.serialize()))


def _build(
    builder: trt.Builder,
    network: trt.INetworkDefinition,
    config: trt.IBuilderConfig,
    log: BuildLog,
) -> bytes:
    with progress(100, "building") as bar:
        config.progress_monitor = monitor = BuildMonitor(bar)
        plan = builder.build_serialized_network(network, config)
    if monitor.interrupted:
        raise KeyboardInterrupt
    if plan is None:
        raise EngineError(f"TensorRT {trt.__version__} could not build the engine: {log.reason()}")
    return bytes(plan)


def _inspect(plan: bytes, spec: ModelSpec, batch: int, options: PlanOptions, log: BuildLog) -> str:
    """Load the plan as the runtime will, and ask it what its layers compute in."""
    engine = load_engine(plan, log, where="the new plan", host_code=options.version_compatible)
    inspector = engine.create_engine_inspector()
    context = engine.create_execution_context()
    if context is None or not context.set_input_shape(_INPUT, (batch, *spec.input.shape)):
        raise EngineError(f"TensorRT built an engine that it cannot run: {log.reason()}")
    # without shapes the inspector says of types: N/A due to dynamic shapes
    inspector.execution_context = context
    return str(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
