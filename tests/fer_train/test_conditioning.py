"""Batch-norm statistics, and the search for values that fp16 and INT8 cannot bear."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn.modules import module

from fer_train.conditioning import (
    MAX_ACTIVATION,
    MAX_LOGIT,
    Conditioning,
    measure,
    refresh_batch_norm,
)


class Floats(nn.Module):
    """From pixels to 0..1, as a normalisation in front of a network."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.float() / 255


def small_network(*middle: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        Floats(),
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        *middle,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 7),
    )


@pytest.fixture
def crops() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)  # 0 draws the noise that measuring adds
    return torch.randint(0, 256, (300, 1, 8, 8), generator=generator, dtype=torch.uint8)


# --- batch norm


@torch.no_grad()
def before_batch_norm(network: nn.Sequential, crops: torch.Tensor) -> torch.Tensor:
    return network[1](network[0](crops))


def test_batches_count_alike(crops: torch.Tensor) -> None:
    many = crops.repeat(4, 1, 1, 1)[:1024]  # four batches of 256
    network = small_network()
    refresh_batch_norm(network, many)
    values = before_batch_norm(network, many)
    parts = [torch.var_mean(part, dim=(0, 2, 3)) for part in values.split(256)]
    variance, mean = (torch.stack(part).mean(0) for part in zip(*parts, strict=True))
    assert torch.allclose(network[2].running_mean, mean, atol=1e-6)
    assert torch.allclose(network[2].running_var, variance, rtol=1e-5)


@pytest.mark.parametrize("count", [257, 300, 511, 513])
def test_a_rest_is_no_batch_of_its_own(count: int, crops: torch.Tensor) -> None:
    sizes: list[int] = []
    network = small_network()
    network[0].register_forward_hook(lambda _m, _i, output: sizes.append(len(output)))
    refresh_batch_norm(network, crops.repeat(2, 1, 1, 1)[:count])
    assert sum(sizes) == count
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) > 128


def test_older_statistics_leave_no_trace(crops: torch.Tensor) -> None:
    fresh, spoilt = small_network(), small_network()
    with torch.no_grad():
        spoilt[2].running_mean.fill_(1e6)
        spoilt[2].running_var.fill_(1e-12)
    for network in (fresh, spoilt):
        refresh_batch_norm(network, crops)
    assert torch.equal(fresh[2].running_mean, spoilt[2].running_mean)
    assert torch.equal(fresh[2].running_var, spoilt[2].running_var)


def test_nothing_but_statistics_changes(crops: torch.Tensor) -> None:
    network = small_network().train()
    network[2].momentum = 0.03
    before = {name: value.clone() for name, value in network.named_parameters()}
    refresh_batch_norm(network, crops)
    assert all(torch.equal(before[name], value) for name, value in network.named_parameters())
    assert network[2].momentum == 0.03
    assert not any(layer.training for layer in network.modules())


def test_dropout_stays_off(crops: torch.Tensor) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(Floats(), nn.Dropout(0.5), nn.BatchNorm2d(1))
    refresh_batch_norm(network, crops)
    assert torch.allclose(network[2].running_mean, crops.float().mean() / 255)


def test_a_network_without_batch_norm_is_not_even_run(crops: torch.Tensor) -> None:
    network = nn.Sequential(Floats(), nn.Conv2d(1, 4, 3)).train()
    network[0].register_forward_hook(lambda *_: pytest.fail("the network was run"))
    refresh_batch_norm(network, crops)
    assert network.training


# --- conditioning


class Multiply(nn.Module):
    """One channel times a factor."""

    def __init__(self, channel: int, factor: float) -> None:
        super().__init__()
        self.channel, self.factor = channel, factor

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        scaled = values.clone()
        scaled[:, self.channel] *= self.factor
        return scaled


def test_an_ordinary_network_holds(crops: torch.Tensor) -> None:
    network = small_network()
    refresh_batch_norm(network, crops)
    found = measure(network, crops)
    assert found.holds
    assert found.largest_logit < 5
    assert found.largest_activation < 50


def test_an_exploding_channel_is_found_though_it_never_reaches_the_logits(
    crops: torch.Tensor,
) -> None:
    network = small_network(Multiply(2, 1e5), Multiply(2, 1e-5))
    refresh_batch_norm(network, crops)
    found = measure(network, crops)
    with torch.no_grad():
        expected = max(
            float(network[2](before_batch_norm(network, kind))[:, 2].abs().max()) * 1e5
            for kind in (crops, 255 - crops)
        )
    assert not found.holds
    assert found.largest_activation >= expected * 0.999
    assert found.largest_logit < 5


class Residual(nn.Module):
    """As a block of a ViT: the sum is no layer's output."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Conv2d(channels, channels, 1)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values + self.branch(values)


def test_a_residual_sum_is_found_though_no_layer_makes_it(crops: torch.Tensor) -> None:
    """Each of the two summands stays below the bound."""
    residual = Residual(4)
    network = small_network(Multiply(2, 600.0), residual, Multiply(2, 1e-5))
    with torch.no_grad():
        network[2].weight[2], network[2].bias[2] = 0.0, 1.0
        residual.branch.weight.zero_()
        residual.branch.bias.copy_(torch.tensor([0.0, 0.0, 600.0, 0.0]))
    found = measure(network, crops)
    assert found.largest_activation == 1200
    assert not found.holds


class Saturating(nn.Module):
    """Harmless, but for a picture that is all of one level."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        flat = pixels.float().flatten(1)
        large = torch.where(flat.std(1) == 0, 500.0, 1.0)
        return large[:, None].expand(-1, 7)


class Attention(nn.Module):
    """Over pixels as tokens; ``sharpness`` scales what its scores are made of, and nothing else."""

    def __init__(self, sharpness: float) -> None:
        super().__init__()
        self.sharpness = sharpness

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        tokens = planes.flatten(2).transpose(1, 2)[:, None]
        sharp = self.sharpness * tokens
        mixed = nn.functional.scaled_dot_product_attention(sharp, sharp, tokens)
        return mixed[:, 0].transpose(1, 2).view_as(planes)


@pytest.mark.parametrize(("sharpness", "holds"), [(1.0, True), (300.0, False)])
def test_scores_of_attention_count_though_no_layer_makes_them(
    sharpness: float, holds: bool, crops: torch.Tensor
) -> None:
    network = small_network(Attention(sharpness))
    refresh_batch_norm(network, crops)
    assert measure(network, crops).holds is holds


def test_the_kind_of_crop_that_is_to_blame_is_named(crops: torch.Tensor) -> None:
    found = measure(Saturating(), crops)
    assert (found.largest_logit, found.largest_logit_on) == (500, "constant")
    assert (found.largest_activation, found.largest_activation_on) == (500, "constant")


def test_every_kind_of_crop_is_tried(crops: torch.Tensor) -> None:
    seen: list[torch.Tensor] = []

    class Watching(nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            seen.append(pixels)
            return pixels.float().mean((2, 3))

    measure(Watching(), crops)
    clean = {tuple(picture.flatten().tolist()) for picture in crops}
    shown = {tuple(picture.flatten().tolist()) for batch in seen for picture in batch}
    pixel = crops[0].flatten().tolist()
    assert tuple(pixel) in shown
    assert tuple(255 - value for value in pixel) in shown
    assert tuple(255 * (value >= 128) for value in pixel) in shown
    constant = {(level,) * 64 for level in range(256)}
    assert constant <= shown
    inverted = {tuple(255 - value for value in pixels) for pixels in clean}
    saturated = {tuple(255 * (value >= 128) for value in pixels) for pixels in clean}
    noise = torch.tensor(list(shown - clean - constant - inverted - saturated))
    assert len(noise) == 256
    assert noise.unique().tolist() == list(range(256))
    assert noise.float().mean() == pytest.approx(127.5, abs=3)


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_does_not_hold(odd: float, crops: torch.Tensor) -> None:
    network = small_network()
    with torch.no_grad():
        network[-1].bias[3] = odd
    found = measure(network, crops)
    assert not found.holds
    assert math.isfinite(found.largest_logit)  # JSON has no infinity


def test_measuring_leaves_no_hooks(crops: torch.Tensor) -> None:
    measure(small_network(), crops)
    assert not module._global_forward_hooks
    assert not module._global_forward_pre_hooks


@pytest.mark.parametrize(
    ("logit", "activation", "holds"),
    [
        (MAX_LOGIT, MAX_ACTIVATION, True),
        (MAX_LOGIT + 0.1, 1, False),
        (1, MAX_ACTIVATION + 1, False),
    ],
)
def test_both_bounds_count(logit: float, activation: float, holds: bool) -> None:
    assert Conditioning(logit, "clean", activation, "noise").holds is holds
