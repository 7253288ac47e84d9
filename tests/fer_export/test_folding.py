"""Folding of training-time blocks into convolutions and additions."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="no torch: networks are part of the torch extra")

from torch import nn  # noqa: E402 - behind the skip

from fer_edge.artifacts.spec import InputSpec, ModelSpec, NetworkSpec  # noqa: E402
from fer_edge.torch_model.architectures import DenseBlock  # noqa: E402
from fer_edge.torch_model.network import build  # noqa: E402
from fer_export.folding import Residual, folded  # noqa: E402


@pytest.fixture(scope="module")
def dense() -> nn.Module:
    """A network whose batch norms have statistics, scales and shifts far from their first ones."""
    torch.manual_seed(0)
    network = build(ModelSpec(NetworkSpec("fer_dense", arguments={"width": 8}), InputSpec(48, 48)))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, -1.5, 1.5)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.2, 3)
    return network.eval()


@torch.no_grad()
def test_the_folded_network_gives_the_same_answers(dense: nn.Module) -> None:
    pictures = torch.randn(4, 1, 48, 48)
    expected = dense(pictures)
    difference = (folded(dense)(pictures) - expected).abs().max()
    assert difference < 1e-5 * expected.abs().max().clamp(min=1)


@torch.no_grad()
@pytest.mark.parametrize(("channels", "stride"), [(8, 1), (16, 1), (8, 2)])
def test_each_block_is_folded_exactly(channels: int, stride: int) -> None:
    torch.manual_seed(1)
    block = DenseBlock(8, channels, stride)
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.2, 3)
    pictures = torch.randn(2, 8, 11, 13)
    expected = block.eval()(pictures)
    plain = folded(nn.Sequential(block))
    torch.testing.assert_close(plain(pictures), expected, rtol=1e-5, atol=1e-5)


def test_nothing_but_convolutions_additions_relus_and_the_head_is_left(dense: nn.Module) -> None:
    kinds = {type(module) for module in folded(dense).get_submodule("stages").modules()}
    assert kinds == {nn.Sequential, nn.Conv2d, nn.ReLU, Residual}


@torch.no_grad()
def test_an_identity_branch_leaves_no_large_weight_in_the_kernel() -> None:
    """INT8 has one scale for a channel's weights, and the largest sets it."""
    first, block = DenseBlock(1, 64, 1), DenseBlock(64, 64, 1)
    assert block.identity is not None
    block.identity.running_var.fill_(0.01)  # the branch multiplies by 10
    plain = folded(nn.Sequential(first, block))
    assert plain.get_parameter("2.conv.weight").abs().max() < block.conv.weight.abs().max()


def test_the_network_itself_stays_as_it_was(dense: nn.Module) -> None:
    names = [name for name, _ in dense.named_modules()]
    folded(dense)
    assert [name for name, _ in dense.named_modules()] == names


def test_a_network_without_dense_blocks_is_not_copied() -> None:
    network = build(ModelSpec(NetworkSpec("mobilenetv3_small_050"), InputSpec(48, 48)))
    assert folded(network) is network
