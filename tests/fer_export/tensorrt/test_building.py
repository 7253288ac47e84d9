"""build_plan, on doubles that stand on the real bindings."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorrt_double.cuda import GPU, CudaDouble
from tensorrt_double.engine import TensorRtDouble, convolution

from fer_edge import Predictor
from fer_edge.artifacts.model import Model
from fer_edge.artifacts.plan import Gpu, PlanSidecar, is_trusted, sidecar_path
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.backends import BackendOptions
from fer_edge.errors import (
    ArtifactError,
    ConfigurationError,
    EngineError,
    FerEdgeError,
    GateError,
)
from fer_export.tensorrt import PlanOptions, build_plan

MakeArtifact = Callable[[Path, ModelSpec], Path]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "dist" / "model.fp16.plan"


def written(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*")) if folder.exists() else []


# ---- what it makes


def test_it_writes_a_plan_its_sidecar_and_the_timing_cache(
    tensorrt: TensorRtDouble, prepared: Path, out: Path, tiny_spec: ModelSpec
) -> None:
    tensorrt.layers = [convolution("Half")] * 3 + [convolution("Float")]
    sidecar = build_plan(prepared, out, "trt-fp16")
    names = ["model.fp16.plan", "model.fp16.plan.json", "model.fp16.timing-cache"]
    assert written(out.parent) == names
    assert PlanSidecar.from_json(sidecar_path(out).read_bytes(), "it") == sidecar
    assert sidecar.plan_sha256 == hashlib.sha256(out.read_bytes()).hexdigest()
    assert sidecar.spec == tiny_spec.with_changes(precision="fp16")
    assert sidecar.tensorrt == tensorrt.bindings.__version__
    name, major, minor, multiprocessors = GPU
    assert sidecar.gpu == Gpu(name, f"{major}.{minor}", multiprocessors)
    assert sidecar.shares == {"fp16": 0.75, "fp32": 0.25}
    assert sidecar.inference_precision == "fp16"
    assert len(sidecar.layers) == 4


def test_the_machine_that_built_a_plan_trusts_it_and_runs_it(
    tensorrt: TensorRtDouble, prepared: Path, out: Path, backend: Any
) -> None:
    sidecar = build_plan(prepared, out, "trt-fp16")
    assert is_trusted(sidecar.plan_sha256)
    artifact = Model.open(out).artifact("tensorrt")
    engine = backend.TensorRtBackend(artifact, BackendOptions())
    crops = np.random.default_rng(0).integers(0, 256, (7, 48, 48, 1), np.uint8)
    with Predictor(prepared) as predictor:
        expected = predictor.predict_tensor(crops)
    for given, exact in zip(engine.infer(crops), expected, strict=True):
        assert given == pytest.approx(exact, abs=1e-5)
    assert engine.spec.precision == "fp16"
    engine.close()


def test_networks_are_strongly_typed_and_fp32_is_not_tf32(
    tensorrt: TensorRtDouble, prepared: Path, out: Path
) -> None:
    build_plan(prepared, out, "trt-fp16")
    trt = tensorrt.bindings
    assert tensorrt.networks == [1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)]
    (config,) = tensorrt.configs
    config.clear_flag.assert_called_once_with(trt.BuilderFlag.TF32)
    config.set_flag.assert_not_called()


def test_the_profile_has_the_batches_that_were_asked_for(
    tensorrt: TensorRtDouble, prepared: Path, out: Path
) -> None:
    options = PlanOptions(min_batch=2, opt_batch=4, max_batch=16)
    sidecar = build_plan(prepared, out, "trt-fp16", options=options)
    assert (sidecar.min_batch, sidecar.opt_batch, sidecar.max_batch) == (2, 4, 16)
    (config,) = tensorrt.configs
    (profile,) = config.add_optimization_profile.call_args.args
    (name, *shapes), _ = profile.set_shape.call_args
    assert name == "crop"
    assert [tuple(shape) for shape in shapes] == [(batch, 48, 48, 1) for batch in (2, 4, 16)]


def test_a_static_model_needs_no_profile(
    tensorrt: TensorRtDouble, prepared: Path, out: Path
) -> None:
    onnx = pytest.importorskip("onnx", reason="no onnx to make a static model with")
    model = onnx.load(prepared)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 3
    onnx.save(model, prepared)
    sidecar = build_plan(prepared, out, "trt-fp16", options=PlanOptions(max_batch=64))
    assert (sidecar.min_batch, sidecar.opt_batch, sidecar.max_batch) == (3, 3, 3)
    tensorrt.configs[0].add_optimization_profile.assert_not_called()


def test_memory_and_compatibility_are_passed_on(
    tensorrt: TensorRtDouble, prepared: Path, out: Path
) -> None:
    options = PlanOptions(workspace_mb=64, hardware_compatible=True, version_compatible=True)
    sidecar = build_plan(prepared, out, "trt-fp16", options=options)
    assert sidecar.hardware_compatible
    assert sidecar.version_compatible
    trt, (config,) = tensorrt.bindings, tensorrt.configs
    config.set_memory_pool_limit.assert_called_once_with(trt.MemoryPoolType.WORKSPACE, 64 << 20)
    config.set_flag.assert_called_once_with(trt.BuilderFlag.VERSION_COMPATIBLE)
    level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    assert config.hardware_compatibility_level is level
    assert tensorrt.host_code_allowed  # or the new plan could not be inspected


def test_the_timing_cache_is_used_again_and_kept(
    tensorrt: TensorRtDouble, prepared: Path, out: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "kept" / "cache"
    options = PlanOptions(timing_cache=cache)
    build_plan(prepared, out, "trt-fp16", options=options)
    assert cache.read_bytes() == b"timed "
    build_plan(prepared, out, "trt-fp16", options=options)
    assert cache.read_bytes() == b"timed timed "


@pytest.mark.parametrize("stored", [b"damaged", b"old"])
def test_a_timing_cache_of_another_device_is_replaced_and_said(
    tensorrt: TensorRtDouble, prepared: Path, out: Path, tmp_path: Path, stored: bytes
) -> None:
    cache = tmp_path / "cache"
    cache.write_bytes(stored)
    lines: list[str] = []
    options = PlanOptions(timing_cache=cache)
    build_plan(prepared, out, "trt-fp16", options=options, report=lines.append)
    assert cache.read_bytes() == b"timed "
    assert any("timing everything again" in line for line in lines)


def test_warnings_are_reported_once_and_chatter_is_not(
    tensorrt: TensorRtDouble, prepared: Path, out: Path
) -> None:
    tensorrt.warnings = ("mind this", "mind this")
    lines: list[str] = []
    build_plan(prepared, out, "trt-fp16", report=lines.append)
    assert [line for line in lines if "warns" in line] == ["TensorRT warns: mind this"]
    assert not any("not for our users" in line for line in lines)
    assert lines[-1] == "trt-fp16: 1 layers, 100% fp16"


def test_a_model_without_a_spec_is_built_with_the_callers(
    tensorrt: TensorRtDouble, prepared: Path, out: Path, tiny_spec: ModelSpec
) -> None:
    onnx = pytest.importorskip("onnx", reason="no onnx to take the spec out with")
    model = onnx.load(prepared)
    del model.metadata_props[:]
    onnx.save(model, prepared)
    with pytest.raises(ArtifactError, match="no model spec"):
        build_plan(prepared, out, "trt-fp16")
    spec = tiny_spec.with_changes(precision="fp16")
    assert build_plan(prepared, out, "trt-fp16", spec=spec).spec == spec
    with pytest.raises(ConfigurationError, match="is fp16, and trt-int8 is built from int8"):
        build_plan(prepared, out, "trt-int8", spec=spec)


# ---- what it refuses


def refused(
    kind: type[FerEdgeError], prepared: Path, out: Path, target: str = "trt-fp16"
) -> FerEdgeError:
    with pytest.raises(kind) as caught:
        build_plan(prepared, out, target)
    assert "\n" not in str(caught.value)
    assert not out.exists()
    assert not sidecar_path(out).exists()
    return caught.value


def test_layers_that_are_not_fp16_fail_the_gate(
    tensorrt: TensorRtDouble, prepared: Path, out: Path, home: Path
) -> None:
    tensorrt.layers = [convolution("Float")]
    problem = refused(GateError, prepared, out)
    assert "should compute in fp16" in str(problem)
    assert problem.exit_code == 1
    assert not list(home.rglob("*.json"))


def test_no_int8_layer_fails_the_gate(
    tensorrt: TensorRtDouble,
    make_artifact: MakeArtifact,
    tiny_spec: ModelSpec,
    out: Path,
    tmp_path: Path,
) -> None:
    model = make_artifact(tmp_path / "model.onnx", tiny_spec.with_changes(precision="int8"))
    assert "should compute in int8" in str(refused(GateError, model, out, "trt-int8"))
    tensorrt.layers = [convolution("Int8"), convolution("Half")]
    assert build_plan(model, out, "trt-int8").inference_precision == "int8"


@pytest.mark.parametrize("target", ["trt-fp32", "trt-int8"])
def test_a_model_of_another_precision_is_refused_with_the_way_out(
    tensorrt: TensorRtDouble, prepared: Path, out: Path, target: str
) -> None:
    problem = refused(ConfigurationError, prepared, out, target)
    assert "is fp16" in str(problem)
    assert f"--prepare-only --target {target}" in str(problem)
    assert tensorrt.configs == []


def test_an_unknown_target_is_refused(tensorrt: TensorRtDouble, prepared: Path, out: Path) -> None:
    assert "trt-fp32, trt-fp16, trt-int8" in str(
        refused(ConfigurationError, prepared, out, "trt-fp8")
    )


def test_a_plan_has_the_suffix_of_a_plan(tensorrt: TensorRtDouble, prepared: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"NAME\.plan"):
        build_plan(prepared, prepared.with_suffix(".engine"), "trt-fp16")


def test_a_corrupt_onnx_is_refused(tensorrt: TensorRtDouble, prepared: Path, out: Path) -> None:
    prepared.write_bytes(prepared.read_bytes()[:1000])
    assert str(prepared) in str(refused(ArtifactError, prepared, out))


def test_what_the_parser_refuses_is_told_with_its_node(
    tensorrt: TensorRtDouble, prepared: Path, out: Path
) -> None:
    tensorrt.refusal = "no importer for Frobnicate"
    problem = refused(ArtifactError, prepared, out)
    assert "node_7: no importer for Frobnicate" in str(problem)


def test_a_build_that_fails_gives_tensorrts_reason(
    tensorrt: TensorRtDouble, prepared: Path, out: Path
) -> None:
    tensorrt.failure = "out of memory"
    problem = refused(EngineError, prepared, out)
    assert "out of memory" in str(problem)
    assert problem.exit_code == 3


def test_a_builder_that_is_null_is_one_line(
    tensorrt: TensorRtDouble, prepared: Path, out: Path
) -> None:
    tensorrt.gpu = False
    assert "for want of a usable GPU or driver" in str(refused(EngineError, prepared, out))


def test_a_machine_without_a_gpu_is_one_line(
    tensorrt: TensorRtDouble, cuda: CudaDouble, prepared: Path, out: Path
) -> None:
    cuda.failing["cudaGetDeviceProperties"] = cuda.cudaError_t.cudaErrorInsufficientDriver
    assert "no usable GPU" in str(refused(EngineError, prepared, out))


def test_ctrl_c_ends_the_build_and_leaves_nothing(
    tensorrt: TensorRtDouble, prepared: Path, out: Path
) -> None:
    tensorrt.interrupt = True
    with pytest.raises(KeyboardInterrupt):
        build_plan(prepared, out, "trt-fp16")
    assert not out.exists()


@pytest.mark.parametrize(
    "changes", [{"min_batch": 0}, {"opt_batch": 33}, {"max_batch": 0}, {"workspace_mb": 0}]
)
def test_options_check_themselves(changes: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError):
        dataclasses.replace(PlanOptions(), **changes)


# ---- what is not installed


def test_without_tensorrt_it_says_where_that_comes_from(prepared: Path, out: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "sys.modules['tensorrt'] = None\n"
        "from fer_export.tensorrt import build_plan\n"
        "try:\n"
        f"    build_plan(Path({str(prepared)!r}), Path({str(out)!r}), 'trt-fp16')\n"
        "except Exception as problem:\n"
        "    print(type(problem).__name__, problem.exit_code, problem)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("MissingDependencyError 3 tensorrt is not installed")
    assert not out.parent.exists()


def test_a_device_needs_neither_torch_nor_onnx(
    tensorrt: TensorRtDouble, prepared: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("torch", "onnx"):
        monkeypatch.setitem(sys.modules, name, None)
    assert build_plan(prepared, out, "trt-fp16").inference_precision == "fp16"
    code = "import sys, fer_export.tensorrt; print({'torch', 'onnx', 'tensorrt'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# ---- progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_nested_phases_move_one_bar_forward(tensorrt: TensorRtDouble) -> None:
    from fer_edge.system.progress import Progress
    from fer_export.tensorrt.monitor import BuildMonitor

    bar = Progress(100, "building", Terminal())
    monitor = BuildMonitor(bar)
    seen = [bar.done]
    monitor.phase_start("outer", "", 2)
    for _ in range(2):
        monitor.phase_start("inner", "outer", 4)
        for step in range(4):
            assert monitor.step_complete("inner", step)
            seen.append(bar.done)
        monitor.phase_finish("inner")
        assert monitor.step_complete("outer", len(seen) // 5)
        seen.append(bar.done)
    monitor.phase_finish("outer")
    assert seen == sorted(seen)
    assert seen[1:3] == [12, 25]
    assert seen[-1] == 100


def test_a_second_outermost_phase_does_not_move_the_bar_back(tensorrt: TensorRtDouble) -> None:
    from fer_edge.system.progress import Progress
    from fer_export.tensorrt.monitor import BuildMonitor

    bar = Progress(100, "building", Terminal())
    monitor = BuildMonitor(bar)
    for name in ("first", "second"):
        monitor.phase_start(name, None, 2)
        monitor.step_complete(name, 0)
        assert bar.done == 50
        monitor.phase_finish(name)
