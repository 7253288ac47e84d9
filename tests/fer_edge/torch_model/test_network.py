"""The torch network of a spec."""

from __future__ import annotations

import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="no torch: the network is part of the torch extra")

from torch import nn  # noqa: E402 - behind the skip

from fer_edge.artifacts.spec import InputSpec, ModelSpec, NetworkSpec  # noqa: E402
from fer_edge.errors import ConfigurationError  # noqa: E402
from fer_edge.torch_model import network  # noqa: E402
from fer_edge.torch_model.network import Normalized  # noqa: E402

SPEC = ModelSpec(
    NetworkSpec("mobilenetv4_conv_small", 1, batch_norm_epsilon=1e-3, activation="relu6"),
    InputSpec(48, 48),
)


def changed(**settings: object) -> ModelSpec:
    return ModelSpec(NetworkSpec(**settings), InputSpec(48, 48))  # type: ignore[arg-type]


def test_it_maps_gray_pictures_to_seven_logits() -> None:
    logits = network.build(SPEC).eval()(torch.zeros(3, 1, 48, 48))
    assert logits.shape == (3, 7)


def test_the_stem_keeps_every_pixel() -> None:
    stem = next(m for m in network.build(SPEC).modules() if isinstance(m, nn.Conv2d))
    assert stem(torch.zeros(1, 1, 48, 48)).shape[2:] == (48, 48)


def test_every_batch_norm_has_the_epsilon_of_the_spec() -> None:
    layers = [m for m in network.build(SPEC).modules() if isinstance(m, nn.BatchNorm2d)]
    assert layers
    assert {layer.eps for layer in layers} == {1e-3}


def test_every_activation_is_that_of_the_spec() -> None:
    kinds = {type(m) for m in network.build(SPEC).modules() if "ReLU" in type(m).__name__}
    assert kinds == {nn.ReLU6}


def test_the_classifier_starts_small() -> None:
    torch.manual_seed(0)
    head = network.build(SPEC).get_classifier()
    assert float(head.weight.detach().std()) == pytest.approx(0.01, rel=0.05)
    assert not head.bias.any()


def test_building_leaves_it_in_training_mode() -> None:
    assert network.build(SPEC, dropout=0.2).training


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (changed(architecture="mobilenet_of_tomorrow"), "timm has no architecture"),
        (changed(architecture="mobilenetv4_conv_small", activation="swishy"), "unknown activation"),
        (
            changed(architecture="mobilenetv4_conv_small", arguments={"depth": 3}),
            "cannot be built with these settings",
        ),
        (
            changed(
                architecture="vit_tiny_patch16_224", arguments={"img_size": 48, "patch_size": 0}
            ),
            "cannot be built with these settings",
        ),
        (changed(architecture="vit_tiny_patch16_224"), "fails on 48 x 48 pixels"),
        (
            changed(architecture="deit_tiny_distilled_patch16_224"),
            "cannot be built|no linear classifier",
        ),
    ],
)
def test_what_cannot_be_built_is_a_configuration_error(spec: ModelSpec, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        network.build(spec)


@pytest.mark.parametrize(
    "argument", ["pretrained", "checkpoint_path", "features_only", "device", "in_chans"]
)
def test_an_argument_that_is_no_setting_of_a_network_is_refused(argument: str) -> None:
    with pytest.raises(ConfigurationError, match=f"may not set {argument}; leave it out"):
        network.build(changed(architecture="resnet18", arguments={argument: 1}))


@pytest.mark.parametrize("name", ["hf-hub:timm/resnet18", "local-dir:/", "resnet18.a:b", "/", ""])
def test_an_architecture_is_a_name_and_no_place_to_fetch_from(name: str) -> None:
    with pytest.raises(ConfigurationError, match="timm has no architecture"):
        network.build(changed(architecture=name))


def test_an_argument_beyond_all_networks_is_refused() -> None:
    arguments = {"depth": 10**6}
    with pytest.raises(ConfigurationError, match="'depth' should be 4096 at most, not 1000000"):
        network.build(changed(architecture="vit_tiny_patch16_224", arguments=arguments))


def test_whatever_timm_raises_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be built.*AttributeError"):
        network.build(changed(architecture="resnet18", arguments={"block": 5}))


def test_normalisation_takes_bytes() -> None:
    spec = ModelSpec(NetworkSpec("x"), InputSpec(2, 2, "rgb", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)))
    pixels = torch.randint(0, 256, (2, 3, 2, 2), dtype=torch.uint8)
    given = Normalized(nn.Identity(), spec)(pixels)
    mean, std = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.4, 0.5, 0.6])
    expected = (pixels.float() / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    assert torch.allclose(given, expected, atol=1e-5)


def test_patches_that_do_not_divide_the_picture_are_refused() -> None:
    arguments = {"img_size": 48, "patch_size": 7, "depth": 1}
    spec = changed(architecture="vit_tiny_patch16_224", arguments=arguments)
    with pytest.raises(ConfigurationError, match=r"patches of 7 x 7 pixels.* divide 48 x 48"):
        network.build(spec)


@pytest.mark.parametrize("setting", ["drop_path", "patch_dropout"])
def test_branches_or_tokens_are_dropped_in_training_where_that_is_asked_for(setting: str) -> None:
    spec = changed(architecture="fer_vit", arguments={"depth": 2})
    plain, dropping = network.build(spec), network.build(spec, **{setting: 0.5})
    for built, differs in ((plain, False), (dropping, True)):
        nn.init.normal_(built.head.weight)
        answers = [built.train()(torch.zeros(2, 1, 48, 48)).detach() for _ in range(8)]
        assert (not all(torch.equal(answers[0], other) for other in answers)) == differs
    answers = [dropping.eval()(torch.zeros(2, 1, 48, 48)) for _ in range(2)]
    assert torch.equal(*answers)
    with pytest.raises(ConfigurationError, match=r"drop_path_rate|patch_drop_rate"):
        network.build(changed(architecture="fer_dense"), **{setting: 0.5})


SETTINGS = (
    "",
    "torch.set_float32_matmul_precision('high')",
    "backends.fp32_precision = 'tf32'",
    "backends.cudnn.conv.fp32_precision = backends.cuda.matmul.fp32_precision = 'tf32'",
)

TF32 = """
import os, sys
import torch
from fer_edge.torch_model.network import without_tf32

backends = torch.backends
parts = (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)
for setting in sys.argv[1:]:
    if child := os.fork():
        assert os.waitpid(child, 0)[1] == 0, setting
        continue
    exec(setting)
    before = [part.fp32_precision for part in parts]
    for _ in range(2):
        with without_tf32():
            assert [part.fp32_precision for part in parts] == ["ieee"] * 3
        assert [part.fp32_precision for part in parts] == before
    os._exit(0)
"""


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="settings of torch 2.9")
def test_fp32_is_fp32_whatever_the_process_has_set() -> None:
    """Each in a process of its own: torch refuses to mix its older settings with these."""
    command = [sys.executable, "-c", TF32, *SETTINGS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
