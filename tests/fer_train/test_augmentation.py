"""Augmentation of batches."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from torch.nn import functional

from fer_edge.images.synthetic import synthetic_crops
from fer_train.augmentation import augment, mix
from fer_train.randomness import draw_view
from fer_train.recipe import Augmentation

NONE = Augmentation(**{field.name: 0.0 for field in fields(Augmentation)})
EVERYTHING = Augmentation(1, 30, 0.3, 0.5, 1, 1, 1, 0.5)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def changed(images: torch.Tensor, settings: Augmentation, seed: int = 0) -> torch.Tensor:
    return augment(images, settings, draw_view(seed, 0, len(images)))


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """Twelve gray drawings, uint8 (12, 1, 96, 96)."""
    return torch.stack([torch.from_numpy(crop[None, :, :, 1]) for crop in synthetic_crops(12)])


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Equal but for the rounding of sampling coordinates."""
    return torch.allclose(one, other.float(), atol=0.1)


def test_without_any_setting_nothing_changes(images: torch.Tensor) -> None:
    assert close(changed(images, NONE), images)


@pytest.mark.parametrize("settings", [NONE, Augmentation(), EVERYTHING])
def test_values_stay_pixels(settings: Augmentation, images: torch.Tensor) -> None:
    result = changed(images, settings)
    assert (result.dtype, result.shape) == (torch.float32, images.shape)
    assert result.min() >= 0
    assert result.max() <= 255


def test_float_images_are_changed_as_bytes_are_and_left_alone(images: torch.Tensor) -> None:
    floats = images.float()
    assert torch.equal(changed(floats, EVERYTHING), changed(images, EVERYTHING))
    assert torch.equal(floats, images.float())


def test_the_view_alone_says_how_a_picture_is_changed(images: torch.Tensor) -> None:
    first = changed(images, EVERYTHING, 1)
    torch.manual_seed(99)  # nothing comes from the global generator
    assert torch.equal(changed(images, EVERYTHING, 1), first)
    assert not torch.equal(changed(images, EVERYTHING, 2), first)


def test_how_a_picture_is_changed_does_not_depend_on_its_batch(images: torch.Tensor) -> None:
    numbers, order = draw_view(1, 5, 12), torch.randperm(12)
    whole = augment(images, Augmentation(), numbers)
    shuffled = augment(images[order], Augmentation(), numbers[order])
    assert torch.allclose(shuffled, whole[order], atol=1e-3)
    alone = augment(images[3:4], Augmentation(), numbers[3:4])
    assert torch.allclose(alone[0], whole[3], atol=1e-3)


def test_every_picture_is_changed_in_its_own_way(images: torch.Tensor) -> None:
    same = images[:1].expand(12, -1, -1, -1)
    result = changed(same, EVERYTHING)
    assert len({tuple(picture.flatten().tolist()) for picture in result}) == 12


def test_all_channels_are_changed_alike(images: torch.Tensor) -> None:
    result = changed(images.expand(-1, 3, -1, -1), EVERYTHING)
    assert torch.equal(result[:, 0], result[:, 2])


# --- one setting at a time


def test_flip_only_flips(images: torch.Tensor) -> None:
    assert close(changed(images, replace(NONE, flip=1.0)), images.flip(3))


def test_flip_flips_as_often_as_it_says(images: torch.Tensor) -> None:
    many = images[:1].expand(400, -1, -1, -1)
    result = changed(many, replace(NONE, flip=0.25))
    mirrored = sum(close(picture, images[0].flip(2)) for picture in result)
    whole = sum(close(picture, images[0]) for picture in result)
    assert mirrored + whole == 400
    assert 70 <= mirrored <= 130  # 100, and more than three standard deviations either way


def test_rotation_turns_about_the_centre(images: torch.Tensor) -> None:
    disc = torch.zeros(1, 1, 65, 65)
    rows, columns = torch.meshgrid(torch.arange(65), torch.arange(65), indexing="ij")
    disc[0, 0, (rows - 32) ** 2 + (columns - 32) ** 2 < 20**2] = 200
    turned = changed(disc, replace(NONE, rotation=180.0), 3)
    assert (turned - disc).abs().mean() < 3  # nothing but the steps of its edge


@pytest.mark.parametrize("limit", [0.05, 0.2])
def test_a_shift_is_a_fraction_of_the_side(limit: float) -> None:
    square = torch.zeros(300, 1, 100, 100)
    square[:, :, 45:55, 45:55] = 250
    moved = changed(square, replace(NONE, shift=limit))
    mass = moved.sum(dim=(1, 2, 3))
    centre = torch.einsum("nchw,w->n", moved, torch.arange(100.0)) / mass
    away = (centre - 49.5).abs().max()
    assert 0.9 * limit * 100 < away < limit * 100 + 0.1


@pytest.mark.parametrize("limit", [0.1, 0.5])
def test_scale_is_the_largest_relative_change_of_size(limit: float) -> None:
    square = torch.zeros(300, 1, 100, 100)
    square[:, :, 40:60, 40:60] = 250
    sides = (changed(square, replace(NONE, scale=limit)).sum((1, 2, 3)) / 250).sqrt()
    assert sides.min() / 20 == pytest.approx(1 - limit, abs=0.03)
    assert sides.max() / 20 == pytest.approx(1 + limit, abs=0.03)


def test_brightness_adds_the_same_everywhere() -> None:
    gray = torch.full((300, 1, 8, 8), 128.0)
    gray[:, :, 0, 0] = 120
    lit = changed(gray, replace(NONE, brightness=0.2))
    assert torch.allclose(lit[:, 0, 1, 1] - lit[:, 0, 0, 0], torch.tensor(8.0), atol=0.1)
    assert (lit[:, 0, 1, 1] - 128).abs().max() == pytest.approx(0.2 * 255, rel=0.05)


def test_contrast_keeps_the_mean_of_each_picture() -> None:
    gray = torch.full((300, 1, 8, 8), 100.0)
    gray[:, :, :4] = 140
    result = changed(gray, replace(NONE, contrast=0.3))
    assert torch.allclose(result.mean((1, 2, 3)), torch.tensor(120.0), atol=0.1)
    spread = (result[:, 0, 0, 0] - result[:, 0, 7, 0]) / 40
    assert (spread.min().item(), spread.max().item()) == pytest.approx((0.7, 1.3), abs=0.02)


def test_erasing_fills_one_rectangle_with_middle_gray() -> None:
    white = torch.full((50, 1, 48, 48), 255.0)
    result = changed(white, replace(NONE, erasing=1.0, erasing_area=0.2))
    for picture in result[:, 0]:
        erased = picture == 127.5
        rows, columns = erased.any(1), erased.any(0)
        assert int(erased.sum()) == int(rows.sum()) * int(columns.sum()) > 0
        assert (picture[~erased] > 254).all()


@pytest.mark.parametrize("limit", [0.0, 0.01, 0.15, 0.4])
def test_no_more_is_erased_than_was_allowed(limit: float) -> None:
    white = torch.full((300, 1, 100, 100), 255.0)
    result = changed(white, replace(NONE, erasing=1.0, erasing_area=limit))
    share = (result == 127.5).float().mean((1, 2, 3)).max()
    a_pixel_more_each_way = (limit**0.5 * 100 + 3**0.5) ** 2 / 100**2 if limit else 0
    assert 0.7 * limit <= share <= a_pixel_more_each_way


def test_erasing_comes_as_often_as_it_says() -> None:
    white = torch.full((400, 1, 16, 16), 255.0)
    result = changed(white, replace(NONE, erasing=0.25, erasing_area=0.3))
    assert 70 <= int((result == 127.5).flatten(1).any(1).sum()) <= 130


# --- mixup


@pytest.fixture
def targets() -> torch.Tensor:
    return functional.one_hot(torch.arange(12) % 7, 7).float()


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_weight_is_the_share_of_the_picture_itself(
    weight: float, images: torch.Tensor, targets: torch.Tensor
) -> None:
    pixels = images.float()
    mixed, mixed_targets = mix([pixels, targets], weight, generator())
    partner = torch.randperm(12, generator=generator())
    expected = weight * pixels + (1 - weight) * pixels[partner]
    assert torch.allclose(mixed, expected, atol=1e-3)
    assert torch.allclose(mixed_targets, weight * targets + (1 - weight) * targets[partner])
