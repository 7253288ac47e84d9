"""Augmentation of whole batches as tensors, on whatever device they are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import torch
from torch.nn import functional

from fer_edge.artifacts.spec import InputSpec
from fer_train.recipe import Augmentation

Drawn: TypeAlias = Iterator[torch.Tensor]

NUMBERS = 12
"""How many random numbers the changes of one picture take."""

_MIDDLE_GRAY = 127.5


def augment(images: torch.Tensor, settings: Augmentation, numbers: torch.Tensor) -> torch.Tensor:
    """Change each picture in its own way.

    ``images`` is uint8 or float ``(N, C, H, W)``, 0 to 255; the result is float32 of the same shape
    and range. ``numbers``, ``(N, NUMBERS)``, are random numbers from 0 to 1 on the same device
    (``fer_train.randomness``): the same ones give the same pictures.
    """
    drawn = iter(numbers.unbind(1))
    pixels = images.to(torch.float32)
    pixels = _move(pixels, settings, drawn)
    pixels = _relight(pixels, settings, drawn)
    return _erase(pixels, settings, drawn)


def fit_to(pixels: torch.Tensor, spec: InputSpec) -> torch.Tensor:
    """Resize and convert float pixels ``(N, C, H, W)`` to a network's size and colour.

    This does what the runtime's pre-processing does, for batches that exist only as tensors.
    Shrinking filters over the source pixels, as averaging does.
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
    batch: Sequence[torch.Tensor], weight: float, generator: torch.Generator
) -> list[torch.Tensor]:
    """Mixup: blend each picture and its targets with those of another picture of the batch.

    ``batch`` holds float tensors with a row per picture: pixels, targets, teachers' answers.
    ``weight`` is the picture's own share, 0 to 1; its partner has the rest.
    Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018.
    """
    device = batch[0].device
    partner = torch.randperm(len(batch[0]), generator=generator, device=device)
    return [torch.lerp(rows[partner], rows, weight) for rows in batch]


def _uniform(drawn: Drawn, low: float, high: float) -> torch.Tensor:
    return next(drawn) * (high - low) + low


def _move(pixels: torch.Tensor, settings: Augmentation, drawn: Drawn) -> torch.Tensor:
    angle = _uniform(drawn, -settings.rotation, settings.rotation) * (math.pi / 180)
    zoom = 1 + _uniform(drawn, -settings.scale, settings.scale)
    mirror = 1 - 2 * (_uniform(drawn, 0, 1) < settings.flip).to(torch.float32)
    # the grid runs from -1 to 1: a shift by a fraction of the side is twice as much there
    shift_x = 2 * _uniform(drawn, -settings.shift, settings.shift)
    shift_y = 2 * _uniform(drawn, -settings.shift, settings.shift)
    cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    rows = [
        torch.stack([cos * mirror, -sin, shift_x], 1),
        torch.stack([sin * mirror, cos, shift_y], 1),
    ]
    grid = functional.affine_grid(torch.stack(rows, 1), list(pixels.shape), align_corners=False)
    return functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)


def _relight(pixels: torch.Tensor, settings: Augmentation, drawn: Drawn) -> torch.Tensor:
    n = len(pixels)
    contrast = 1 + _uniform(drawn, -settings.contrast, settings.contrast)
    offset = 255 * _uniform(drawn, -settings.brightness, settings.brightness)
    mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
    contrast, offset = contrast.view(n, 1, 1, 1), offset.view(n, 1, 1, 1)
    return ((pixels - mean) * contrast + mean + offset).clamp_(0, 255)


def _erase(pixels: torch.Tensor, settings: Augmentation, drawn: Drawn) -> torch.Tensor:
    """Random erasing with middle gray (Zhong et al., AAAI 2020), one rectangle per picture."""
    height, width = pixels.shape[2:]
    chosen = _uniform(drawn, 0, 1) < settings.erasing
    smallest = min(0.02, settings.erasing_area)
    area = _uniform(drawn, smallest, settings.erasing_area)
    aspect = torch.exp(_uniform(drawn, -math.log(3), math.log(3)))
    tall, wide = torch.sqrt(area * aspect) * height, torch.sqrt(area / aspect) * width
    top, left = _uniform(drawn, 0, 1), _uniform(drawn, 0, 1)
    inside_y = _inside(top * (height - tall), tall, height)
    inside_x = _inside(left * (width - wide), wide, width)
    erased = inside_y[:, :, None] & inside_x[:, None, :] & chosen[:, None, None]
    return pixels.masked_fill(erased[:, None], _MIDDLE_GRAY)


def _inside(start: torch.Tensor, length: torch.Tensor, side: int) -> torch.Tensor:
    position = torch.arange(side, device=start.device)[None, :]
    return (position >= start[:, None]) & (position < (start + length)[:, None])
