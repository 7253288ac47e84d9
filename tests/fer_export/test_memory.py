"""What the export of a large network takes: a ViT-B/16 at 224 pixels."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fer_edge.artifacts.spec import InputSpec, ModelSpec, NetworkSpec
from fer_edge.torch_model import checkpoint, network

MOST_BYTES = 3_000_000_000
"""Of resident memory, with torch, OpenVINO and ONNX Runtime loaded."""

MEASURED = """
import resource, sys
from fer_export.cli import main
code = main(sys.argv[1:])
print("peak", 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sys.exit(code)
"""


@pytest.fixture(scope="module")
def vit_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    half = (0.5, 0.5, 0.5)
    spec = ModelSpec(
        NetworkSpec("vit_base_patch16_224"), InputSpec(224, 224, "rgb", half, half, "linear")
    )
    torch.manual_seed(0)
    built = network.build(spec)
    torch.nn.init.normal_(built.get_classifier().weight, std=0.3)  # type: ignore[operator]
    path = tmp_path_factory.mktemp("weights") / "vit-base.safetensors"
    checkpoint.save(path, built.state_dict(), spec)
    return path


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read as Linux counts it")
@pytest.mark.parametrize("target", ["onnx", "openvino-fp32", "openvino-fp16", "trt-fp16"])
def test_the_memory_that_the_export_of_a_vit_base_takes_is_bounded(
    target: str, vit_base: Path, tmp_path: Path
) -> None:
    words = ["--weights", str(vit_base), "--target", target, "--prepare-only", "--crops", "8"]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *words, "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.rpartition("peak ")[2]) < MOST_BYTES
