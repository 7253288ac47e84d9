"""A first layer for 48 gray pixels that sees what the original sees at 96 in colour."""

from __future__ import annotations

import pytest
import torch
from timm.layers import Conv2dSame
from torch import nn
from torch.nn import functional

from fer_train.pretrained.stem import enlarging_stem, gray_stem


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("padded_after", [True, False])
def test_stride_1_on_the_small_picture_is_stride_2_on_the_enlarged_one(
    padded_after: bool, pixels: torch.Tensor
) -> None:
    torch.manual_seed(1)
    kind = Conv2dSame if padded_after else nn.Conv2d
    original = kind(3, 8, 3, stride=2, padding=0 if padded_after else 1, bias=False)
    enlarged = functional.interpolate(pixels, scale_factor=2, mode="bilinear", align_corners=False)
    expected = original(enlarged)
    kernel = enlarging_stem(original.weight, padded_after=padded_after)
    came = functional.conv2d(pixels, kernel, padding=1)
    inside = (..., slice(1, -1), slice(1, -1))
    assert came.shape == expected.shape
    assert torch.allclose(came[inside], expected[inside], atol=1e-5)
    assert not torch.allclose(functional.conv2d(pixels, original.weight, padding=1), expected)


def test_a_gray_plane_is_seen_as_three_equal_ones(pixels: torch.Tensor) -> None:
    kernel, mean = torch.randn(8, 3, 3, 3), (0.2, 0.5, 0.6)
    gray = pixels[:, :1]
    planes = (gray.expand(-1, 3, -1, -1)) - torch.tensor(mean).view(1, 3, 1, 1)
    expected = functional.conv2d(planes, kernel)
    folded, added = gray_stem(kernel, mean, 0.4)
    came = functional.conv2d(gray - 0.4, folded) + added.view(1, -1, 1, 1)
    assert folded.shape == (8, 1, 3, 3)
    assert torch.allclose(came, expected, atol=1e-4)
