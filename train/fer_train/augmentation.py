"""Augmentation of whole batches as tensors, on whatever device they are."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from fer_edge.artifacts.spec import InputSpec
from fer_train.recipe import Augmentation

__all__ = ["augment", "fit_to", "mix"]

_MIDDLE_GRAY = 127.5


def augment(
    images: torch.Tensor, settings: Augmentation, generator: torch.Generator
) -> torch.Tensor:
    """Change each picture in its own way.

    ``images`` is uint8 or float ``(N, C, H, W)``, 0 to 255; the result float32 of the same shape
    and range. All random numbers come from ``generator``, which lives where the pictures do: a
    copy from the host would make the device wait.
    """
    pixels = images.to(torch.float32)
    pixels = _move(pixels, settings, generator)
    pixels = _relight(pixels, settings, generator)
    return _erase(pixels, settings, generator)


def fit_to(pixels: torch.Tensor, spec: InputSpec) -> torch.Tensor:
    """Resize and convert float pixels ``(N, C, H, W)`` to a network's size and colour.

    This is the runtime's pre-processing as tensors, for batches that exist only as such; shrinking
    filters over the source pixels, as averaging does.
    """
    size = (spec.height, spec.width)
    if pixels.shape[2:] != size:
        pixels = functional.interpolate(
            pixels, size, mode="bilinear", align_corners=False, antialias=True
        )
    if pixels.shape[1] == spec.channels:
        return pixels
    if spec.channels > 1:
        return pixels.expand(-1, spec.channels, -1, -1)
    weights = pixels.new_tensor(spec.gray_coefficients).view(1, -1, 1, 1)
    return (pixels * weights).sum(1, keepdim=True)


def mix(
    images: torch.Tensor, targets: torch.Tensor, weight: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mixup: blend each picture and its target ``(N, K)`` with another of the batch.

    Both are float; ``weight`` is the picture's own share, 0 to 1, its partner has the rest.
    Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018.
    """
    partner = torch.randperm(len(images), generator=generator, device=images.device)
    return (
        torch.lerp(images[partner], images, weight),
        torch.lerp(targets[partner], targets, weight),
    )


def _uniform(n: int, low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    return torch.rand(n, generator=generator, device=generator.device) * (high - low) + low


def _move(pixels: torch.Tensor, settings: Augmentation, generator: torch.Generator) -> torch.Tensor:
    n = len(pixels)
    angle = _uniform(n, -settings.rotation, settings.rotation, generator) * (math.pi / 180)
    zoom = 1 + _uniform(n, -settings.scale, settings.scale, generator)
    mirror = 1 - 2 * (_uniform(n, 0, 1, generator) < settings.flip).to(torch.float32)
    # the grid runs from -1 to 1: a shift by a fraction of the side is twice as much there
    shift_x = 2 * _uniform(n, -settings.shift, settings.shift, generator)
    shift_y = 2 * _uniform(n, -settings.shift, settings.shift, generator)
    cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    rows = [
        torch.stack([cos * mirror, -sin, shift_x], 1),
        torch.stack([sin * mirror, cos, shift_y], 1),
    ]
    grid = functional.affine_grid(torch.stack(rows, 1), list(pixels.shape), align_corners=False)
    return functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)


def _relight(
    pixels: torch.Tensor, settings: Augmentation, generator: torch.Generator
) -> torch.Tensor:
    n = len(pixels)
    contrast = 1 + _uniform(n, -settings.contrast, settings.contrast, generator)
    offset = 255 * _uniform(n, -settings.brightness, settings.brightness, generator)
    mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
    contrast, offset = contrast.view(n, 1, 1, 1), offset.view(n, 1, 1, 1)
    return ((pixels - mean) * contrast + mean + offset).clamp_(0, 255)


def _erase(
    pixels: torch.Tensor, settings: Augmentation, generator: torch.Generator
) -> torch.Tensor:
    """Random erasing with middle gray (Zhong et al., AAAI 2020), one rectangle per picture."""
    n, _, height, width = pixels.shape
    chosen = _uniform(n, 0, 1, generator) < settings.erasing
    smallest = min(0.02, settings.erasing_area)
    area = _uniform(n, smallest, settings.erasing_area, generator)
    aspect = torch.exp(_uniform(n, -math.log(3), math.log(3), generator))
    tall, wide = torch.sqrt(area * aspect) * height, torch.sqrt(area / aspect) * width
    top, left = _uniform(n, 0, 1, generator), _uniform(n, 0, 1, generator)
    inside_y = _inside(top * (height - tall), tall, height)
    inside_x = _inside(left * (width - wide), wide, width)
    erased = inside_y[:, :, None] & inside_x[:, None, :] & chosen[:, None, None]
    return pixels.masked_fill(erased[:, None], _MIDDLE_GRAY)


def _inside(start: torch.Tensor, length: torch.Tensor, side: int) -> torch.Tensor:
    position = torch.arange(side, device=start.device)[None, :]
    return (position >= start[:, None]) & (position < (start + length)[:, None])
