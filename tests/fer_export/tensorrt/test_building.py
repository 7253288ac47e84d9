"""build_plan: under ``make nvidia`` NVIDIA's own parser and builder make the plan."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nvidia_builder
import pytest
from tensorrt_double.cuda import GPU, CudaDouble
from tensorrt_double.engine import TensorRtDouble

from fer_edge.artifacts.model import Model
from fer_edge.artifacts.plan import Gpu, PlanSidecar, is_trusted, sidecar_path
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.backends import BackendOptions
from fer_edge.errors import ArtifactError, ConfigurationError, EngineError, FerEdgeError, GateError
from fer_export.tensorrt.building import build_plan, diagnostic_commands
from fer_export.tensorrt.options import PlanOptions

Prepare = Callable[[str], Path]
UNDER_NVIDIA = nvidia_builder.VARIABLE in os.environ


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "dist" / "model.fp16.plan"


def written(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*")) if folder.exists() else []


def static(onnx_path: Path, batch: int) -> None:
    onnx = pytest.importorskip("onnx", reason="no onnx to make a static model with")
    model = onnx.load(onnx_path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    onnx.save(model, onnx_path)


# ---- what it makes


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_it_writes_a_plan_its_sidecar_its_layers_and_the_timing_cache(
    nvidia: TensorRtDouble, prepare: Prepare, tmp_path: Path, tiny_spec: ModelSpec, precision: str
) -> None:
    out = tmp_path / "dist" / "model.plan"
    sidecar = build_plan(prepare(precision), out, f"trt-{precision}")
    assert written(out.parent) == [
        "model.plan",
        "model.plan.json",
        "model.plan.layers.json",
        "model.timing-cache",
    ]
    assert PlanSidecar.from_json(sidecar_path(out).read_bytes(), "it") == sidecar
    assert sidecar.plan_sha256 == hashlib.sha256(out.read_bytes()).hexdigest()
    assert sidecar.spec == tiny_spec.with_changes(precision=precision)
    assert sidecar.tensorrt == nvidia.bindings.__version__
    name, major, minor, multiprocessors = GPU
    assert sidecar.gpu == Gpu(name, f"{major}.{minor}", multiprocessors)
    assert (sidecar.shares, sidecar.inference_precision) == ({precision: 1.0}, precision)
    (product,) = [layer for layer in sidecar.layers if layer.matrix]
    assert product.precision == precision
    layers = json.loads(out.with_name("model.plan.layers.json").read_bytes())["Layers"]
    assert len(layers) == len(sidecar.layers)


def test_the_machine_that_built_a_plan_trusts_it_and_runs_it(
    nvidia: TensorRtDouble, prepared: Path, out: Path, backend: Any, answers: Callable[[Path], Any]
) -> None:
    sidecar = build_plan(prepared, out, "trt-fp16")
    assert is_trusted(sidecar.plan_sha256)
    artifact = Model.open(out).artifact("tensorrt")
    engine = backend.TensorRtBackend(artifact, BackendOptions())
    crops, expected = answers(prepared)
    for given, exact in zip(engine.infer(crops), expected, strict=True):
        assert given == pytest.approx(exact, abs=1e-5)
    assert engine.spec.precision == "fp16"
    engine.close()


@pytest.mark.parametrize("batches", [(1, 1, 32), (2, 4, 16)])
def test_the_profile_has_the_batches_that_were_asked_for(
    nvidia: TensorRtDouble, prepared: Path, out: Path, batches: tuple[int, int, int]
) -> None:
    smallest, best, largest = batches
    options = PlanOptions(min_batch=smallest, opt_batch=best, max_batch=largest)
    sidecar = build_plan(prepared, out, "trt-fp16", options=options)
    assert (sidecar.min_batch, sidecar.opt_batch, sidecar.max_batch) == batches


def test_a_static_model_has_its_own_batch(
    nvidia: TensorRtDouble, prepared: Path, out: Path
) -> None:
    static(prepared, 3)
    sidecar = build_plan(prepared, out, "trt-fp16")
    assert (sidecar.min_batch, sidecar.opt_batch, sidecar.max_batch) == (3, 3, 3)
    with pytest.raises(ConfigurationError, match="a static batch of 3, and batches of 1 to 2"):
        build_plan(prepared, out, "trt-fp16", options=PlanOptions(max_batch=2))


def test_a_version_compatible_plan_may_bring_its_own_runtime(
    nvidia: TensorRtDouble, prepared: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # TensorRT for RTX has no such flag for its plans
    monkeypatch.setattr(nvidia.bindings.IBuilderConfig, "set_flag", lambda *_: None)
    options = PlanOptions(version_compatible=True)
    assert build_plan(prepared, out, "trt-fp16", options=options).version_compatible
    assert nvidia.host_code_allowed  # or the new plan could not be inspected


def test_everything_that_tensorrt_says_is_reported_on_demand(
    nvidia: TensorRtDouble, prepared: Path, out: Path
) -> None:
    quiet: list[str] = []
    build_plan(prepared, out, "trt-fp16", report=quiet.append)
    lines: list[str] = []
    build_plan(prepared, out, "trt-fp16", options=PlanOptions(verbose=True), report=lines.append)
    assert not any(line.startswith("TensorRT: ") for line in quiet)
    assert sum(line.startswith("TensorRT: ") for line in lines) > 10
    told = "of 1 convolutions and matrix products 100% fp16"
    assert quiet[-1] == lines[-1] == f"trt-fp16: {len(nvidia.layers)} layers; {told}"


# ---- what it refuses


def refused(
    kind: type[FerEdgeError],
    prepared: Path,
    out: Path,
    target: str = "trt-fp16",
    options: PlanOptions | None = None,
) -> FerEdgeError:
    with pytest.raises(kind) as caught:
        build_plan(prepared, out, target, options=options or PlanOptions())
    assert "\n" not in str(caught.value)
    assert not out.exists()
    assert not sidecar_path(out).exists()
    return caught.value


def test_a_product_in_another_type_fails_the_gate_and_leaves_the_listing(
    nvidia: TensorRtDouble, prepared: Path, out: Path, home: Path
) -> None:
    onnx = pytest.importorskip("onnx", reason="no onnx to plant a fault with")
    model = onnx.load(prepared)
    for entry in model.metadata_props:  # as if the graph had been changed after it was prepared
        if entry.key == "fer_edge.products":
            entry.value = json.dumps({"classifier": "fp16", "elsewhere": "fp16"})
    onnx.save(model, prepared)
    problem = refused(GateError, prepared, out)
    assert "no layer of the engine is known to compute elsewhere" in str(problem)
    assert problem.exit_code == 1
    listing = out.parent / "model.fp16.plan.layers.json"
    assert str(listing) in str(problem)
    assert json.loads(listing.read_bytes())["Layers"]
    assert not list(home.rglob("*.json"))


def test_a_plan_has_the_suffix_of_a_plan(tensorrt: TensorRtDouble, prepared: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"NAME\.plan"):
        build_plan(prepared, prepared.with_suffix(".engine"), "trt-fp16")


def test_an_operator_that_tensorrt_lacks_is_told_with_its_node(
    nvidia: TensorRtDouble, prepared: Path, out: Path
) -> None:
    onnx = pytest.importorskip("onnx", reason="no onnx to plant a fault with")
    model = onnx.load(prepared)
    for node in model.graph.node:
        if node.name == "fer_edge.softmax":
            node.input[0] = "odd"
    odd = onnx.helper.make_node("MelWeightMatrix", ["a", "b", "c", "d", "e"], ["mel"], "odd_one")
    values = [8, 16, 100, 1.0, 50.0]
    for name, value in zip("abcde", values, strict=True):
        kind = onnx.TensorProto.INT64 if isinstance(value, int) else onnx.TensorProto.FLOAT
        model.graph.initializer.append(onnx.helper.make_tensor(name, kind, [], [value]))
    total = onnx.helper.make_node("ReduceSum", ["mel"], ["total"], "total", keepdims=0)
    added = onnx.helper.make_node("Add", ["logits", "total"], ["odd"], "added")
    model.graph.node.extend([odd, total, added])
    nodes = sorted(model.graph.node, key=lambda n: n.name == "fer_edge.softmax")
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, prepared)
    assert "odd_one" in str(refused(ArtifactError, prepared, out))


@pytest.mark.skipif(UNDER_NVIDIA, reason="NVIDIA's builder is here, and makes a builder")
def test_a_builder_that_is_null_is_one_line(
    tensorrt: TensorRtDouble, prepared: Path, out: Path
) -> None:
    assert "needs a usable GPU and its driver" in str(refused(EngineError, prepared, out))


def test_a_machine_without_a_gpu_is_one_line(
    tensorrt: TensorRtDouble, cuda: CudaDouble, prepared: Path, out: Path
) -> None:
    cuda.failing["cudaGetDeviceProperties"] = cuda.cudaError_t.cudaErrorInsufficientDriver
    assert "no usable GPU" in str(refused(EngineError, prepared, out))


def test_a_full_disk_leaves_no_plan(
    nvidia: TensorRtDouble, prepared: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(out))

    monkeypatch.setattr("fer_export.tensorrt.building.write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        build_plan(prepared, out, "trt-fp16")
    assert not out.exists()
    assert not sidecar_path(out).exists()


def test_a_dla_core_that_is_not_there_is_refused(
    nvidia: TensorRtDouble, prepared: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fer_export.tensorrt.builder._check_release", lambda _: None)
    problem = refused(ConfigurationError, prepared, out, options=PlanOptions(dla_core=1))
    assert "no DLA core 1: this device has 0" in str(problem)


# ---- Ctrl-C


def test_ctrl_c_during_a_build_ends_it_and_leaves_nothing(
    nvidia: TensorRtDouble, prepare: Prepare, out: Path
) -> None:
    """At once, that is: whichever callback Python would have raised in."""
    pressed = threading.Timer(0, signal.raise_signal, (signal.SIGINT,))
    before = signal.getsignal(signal.SIGINT)

    def press(line: str) -> None:
        if "building" in line:
            pressed.start()
            pressed.join()

    with pytest.raises(KeyboardInterrupt):
        build_plan(prepare("fp16"), out, "trt-fp16", report=press)
    assert not out.exists()
    assert signal.getsignal(signal.SIGINT) is before


# ---- what is not installed


def test_without_tensorrt_it_says_where_that_comes_from(prepared: Path, out: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "import fer_export.finishing\n"
        "from fer_export.tensorrt.building import build_plan\n"
        "print({'torch', 'onnx', 'tensorrt'} & {*sys.modules})\n"
        "sys.modules['tensorrt'] = None\n"
        "try:\n"
        f"    build_plan(Path({str(prepared)!r}), Path({str(out)!r}), 'trt-fp16')\n"
        "except Exception as problem:\n"
        "    print(type(problem).__name__, problem.exit_code, problem)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported, told = done.stdout.splitlines()
    assert imported == "set()"
    assert told.startswith("MissingDependencyError 3 tensorrt is not installed")
    assert not out.parent.exists()


def test_a_device_needs_neither_torch_nor_onnx(
    nvidia: TensorRtDouble, prepared: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("torch", "onnx"):
        monkeypatch.setitem(sys.modules, name, None)
    assert build_plan(prepared, out, "trt-fp16").inference_precision == "fp16"


# ---- NVIDIA's own tools


def test_the_commands_of_nvidias_tools_can_be_pasted_into_a_shell(tiny_spec: ModelSpec) -> None:
    sidecar = PlanSidecar(
        spec=tiny_spec,
        plan_sha256="0" * 64,
        tensorrt="10.3.0",
        gpu=Gpu("Orin", "8.7", 16),
        min_batch=1,
        opt_batch=4,
        max_batch=8,
        inference_precision="fp16",
    )
    trtexec, polygraphy = diagnostic_commands(Path("my model.onnx"), sidecar).split("; ")
    assert trtexec.startswith("trtexec '--onnx=my model.onnx' --noTF32")
    assert "--stronglyTyped" in trtexec
    assert "--optShapes=crop:4x48x48x1" in trtexec
    assert polygraphy.startswith("polygraphy run 'my model.onnx' --trt --onnxrt --strongly-typed")
    assert "--trt-max-shapes 'crop:[8,48,48,1]'" in polygraphy
    newer = dataclasses.replace(sidecar, tensorrt="11.4.0", min_batch=8, opt_batch=8)
    assert "--stronglyTyped" not in diagnostic_commands(Path("m.onnx"), newer)
    assert "Shapes" not in diagnostic_commands(Path("m.onnx"), newer)
