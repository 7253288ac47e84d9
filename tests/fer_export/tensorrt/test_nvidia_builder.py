"""What NVIDIA's own parser and builder make of the graphs that we prepare: make nvidia runs it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from nvidia_builder.layers import shorten
from tensorrt_double.engine import TensorRtDouble

from fer_calib.crops import Crops
from fer_calib.quantisation import quantize
from fer_edge.artifacts.model import packaged_models
from fer_edge.errors import GateError
from fer_edge.images.preprocess import preprocess_all
from fer_edge.images.synthetic import synthetic_crops
from fer_export.contract_nodes import attach_contract, with_static_batch
from fer_export.half import to_half
from fer_export.source import from_onnx
from fer_export.tensorrt.building import build_plan
from fer_export.tensorrt.lint import check_model
from fer_export.tensorrt.mixed import to_mixed
from fer_export.tensorrt.precision import check_kernels, read_kernels

PRECISIONS = ("fp32", "fp16", "int8")
PRESSES = 6
STATIC = 4


@cache
def prepared(model: str, precision: str) -> onnx.ModelProto:
    """What ``fer-export --prepare-only`` makes of a packaged model, calibrated on drawings."""
    source = from_onnx(model)
    core, spec = source.core, source.spec.with_changes(precision=precision)
    crops = preprocess_all(synthetic_crops(32), spec.input)
    if precision == "fp32":
        return attach_contract(core, spec)
    half = to_half(core, spec, crops, tolerance=1)  # drawings are no faces
    if precision == "fp16":
        return attach_contract(half.model, spec)
    quantized = quantize(core, Crops(crops, source.spec), "canonical")
    islands = {island.node for island in half.islands}
    return attach_contract(to_mixed(quantized, islands), spec)


@pytest.mark.parametrize("batch", [None, STATIC], ids=["dynamic", "static"])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("model", packaged_models())
def test_every_graph_of_a_packaged_model_builds_in_its_precision(
    nvidia: TensorRtDouble, tmp_path: Path, model: str, precision: str, batch: int | None
) -> None:
    """The gate reads the builder's own layers; each of its products is in them."""
    graph = prepared(model, precision)
    if batch is not None:
        graph = with_static_batch(graph, batch)
    check_model(graph, model)
    path = tmp_path / f"model.{precision}.onnx"
    onnx.save(graph, path)
    sidecar = build_plan(path, tmp_path / "model.plan", f"trt-{precision}")
    assert sidecar.inference_precision == precision
    assert sidecar.shares[precision] > 0.6
    assert sidecar.max_batch == (batch or 32)
    products = [layer for layer in sidecar.layers if layer.matrix]
    assert sum(layer.precision == precision for layer in products) > 0.6 * len(products)


def test_the_builder_lists_what_the_listings_of_the_tests_have(
    nvidia: TensorRtDouble, tmp_path: Path
) -> None:
    """So that the fixtures of test_precision.py cannot drift from what is built."""
    path = tmp_path / "model.onnx"
    onnx.save(prepared("default", "fp16"), path)
    build_plan(path, tmp_path / "model.plan", "trt-fp16")
    folder = Path(__file__).with_name("listings")
    kept = {
        (kind, inputs)
        for file in folder.glob("*.fp16.json")
        for _, kind, _, inputs, _, _ in json.loads(file.read_text())["layers"]
    }
    made = {(kind, inputs) for _, kind, _, inputs, _, _ in map(shorten, nvidia.layers)}
    assert made <= kept


def test_a_kernel_that_is_changed_fails_the_gate_on_fresh_layers_too(
    nvidia: TensorRtDouble, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    graph = prepared("default", "int8")
    onnx.save(graph, path)
    build_plan(path, tmp_path / "model.plan", "trt-int8")
    metadata = {entry.key: entry.value for entry in graph.metadata_props}
    products = json.loads(metadata["fer_edge.products"])
    whole = nvidia.layers
    for index, layer in enumerate(whole):
        if not any(f"[ONNX Layer: {name}]" in layer["Metadata"] for name in products):
            continue
        rest = json.dumps({"Layers": [*whole[:index], *whole[index + 1 :]]})
        kernel = read_kernels(json.dumps({"Layers": whole}))[index]
        if kernel.multiplies:
            with pytest.raises(GateError, match="is known to compute"):
                check_kernels(read_kernels(rest), products, "int8", "model.plan")


# ---- Ctrl-C


@pytest.fixture
def exporting(nvidia: TensorRtDouble, tmp_path: Path) -> Iterator[Callable[[], Any]]:
    """Start a build in a process of its own; it is over, or killed, at the end."""
    path = tmp_path / "model.fp16.onnx"
    onnx.save(prepared("default", "fp16"), path)
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-u", "-m", "nvidia_builder.exporting"]
        command += ["--from-onnx", str(path), "--target", "trt-fp16", "--trt-verbose"]
        command += ["--out", str(tmp_path / "out")]
        paths = [*sys.path, os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        started.append(
            subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def test_ctrl_c_at_any_moment_of_a_build_ends_it_with_130_and_leaves_nothing(
    exporting: Callable[[], Any], tmp_path: Path
) -> None:
    whole = exporting()
    said = whole.communicate()[1].splitlines()
    assert whole.returncode == 0, said[-3:]
    building = next(number for number, line in enumerate(said) if "building" in line)
    spoken = [number for number, line in enumerate(said) if line.startswith("TensorRT: ")]
    out = tmp_path / "out"
    shutil.rmtree(out)
    # lines that the builder is past: what it says later is in the pipe already
    moments = np.random.default_rng(0).integers(building + 1, spoken[-1] // 2, PRESSES)
    for moment in moments:
        process = exporting()
        for _ in range(moment):
            process.stderr.readline()
        process.send_signal(signal.SIGINT)
        rest = process.communicate()[1]
        assert process.returncode == 130, rest[-300:]
        assert "interrupted; nothing was left half written" in rest
        assert not out.exists()
        assert not list(tmp_path.glob(".out*"))
