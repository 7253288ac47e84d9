"""Networks that only teach: known to fer-train, and refused by the runtime in words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fer_edge.artifacts.spec import InputSpec, ModelSpec, NetworkSpec
from fer_edge.torch_model import checkpoint
from fer_edge.torch_model.network import build
from fer_train import teacher_networks
from fer_train.teachers import Ensemble


def spec_of(name: str) -> ModelSpec:
    return ModelSpec(NetworkSpec(name), InputSpec(48, 48))


@pytest.mark.parametrize("name", teacher_networks.__all__)
def test_each_can_be_built_by_its_name(name: str) -> None:
    assert build(spec_of(name)).eval()(torch.zeros(3, 1, 48, 48)).shape == (3, 7)


def test_every_pixel_counts() -> None:
    """Their first layers keep the size; timm's would quarter it."""
    resnet, vgg = (build(spec_of(name)).eval() for name in ("fer_resnet18", "fer_vgg"))
    pixels = torch.rand(1, 1, 48, 48)
    assert resnet.maxpool(resnet.conv1(pixels)).shape[2:] == (48, 48)
    assert vgg.features[1](vgg.features[0](pixels)).shape[2:] == (48, 48)
    assert vgg.features(pixels).shape[2:] == (6, 6)


def test_a_checkpoint_of_one_teaches_and_the_runtime_says_that_it_does_no_more(
    tmp_path: Path,
) -> None:
    path, spec = tmp_path / "teacher.safetensors", spec_of("fer_resnet18")
    checkpoint.save(path, build(spec).state_dict(), spec)
    assert Ensemble([path])(torch.zeros(1, 1, 48, 48), 1.0).shape == (1, 7)
    code = "import sys; from fer_edge.torch_model import checkpoint; checkpoint.load(sys.argv[1])"
    alone = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    assert "fer_resnet18 is a network of fer-train that only teaches" in alone.stderr
