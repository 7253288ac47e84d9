"""From a crop to the tensor, against a reference that is slow and obvious."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from fer_edge import InputSpec
from fer_edge.images.preprocess import COLORS, preprocess, preprocess_all

Image = npt.NDArray[np.uint8]
Exact = npt.NDArray[np.float64]

HEIGHT, WIDTH = 12, 10
GRAY = InputSpec(HEIGHT, WIDTH)
RGB = InputSpec(HEIGHT, WIDTH, "rgb", (0.5,) * 3, (0.25,) * 3)
LINEAR = InputSpec(HEIGHT, WIDTH, interpolation="linear")

ROUNDED_ONCE = 0.51
"""Half a level, and OpenCV's fixed point."""

ROUNDED_TWICE = 1.1
"""A bilinear sample is rounded, and so is a mean of several."""

SHRINKING = [
    pytest.param((24, 20), id="by 2"),
    pytest.param((36, 50), id="by 3 and 5"),
    pytest.param((12, 40), id="in width alone"),
    pytest.param((60, 10), id="in height alone"),
    pytest.param((17, 23), id="by fractions"),
    pytest.param((13, 11), id="by one row and column"),
    pytest.param((97, 20), id="by a fraction and 2"),
    pytest.param((8 * 12 + 5, 300), id="by much"),
]
GROWING = [
    pytest.param((8, 8), id="in both"),
    pytest.param((12, 8), id="in width alone"),
    pytest.param((8, 41), id="in height while width shrinks"),
    pytest.param((33, 9), id="in width while height shrinks"),
]


def noise(*shape: int) -> Image:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, np.uint8)


def processed(crop: Image, spec: InputSpec, color: str = "bgr") -> Image:
    out = np.full(spec.shape, 170, np.uint8)
    preprocess(crop, spec, out, color)
    return out


def bt_601(crop: Image, color: str) -> Exact:
    """Weigh red, green and blue as ITU-R BT.601 says."""
    red, green, blue = (crop[:, :, color.index(letter)].astype(np.float64) for letter in "rgb")
    return 0.299 * red + 0.587 * green + 0.114 * blue


def along_both(weights: Callable[[int, int], Exact], image: Exact, size: tuple[int, int]) -> Exact:
    """Apply ``weights(new, old)``, a matrix, to the rows and to the columns."""
    down, across = (weights(new, old) for new, old in zip(size, image.shape, strict=True))
    return down @ image.astype(np.float64) @ across.T


def shares_under(new: int, old: int) -> Exact:
    """The part of each new pixel that an old one covers."""
    edges = np.arange(new + 1) * old / new
    starts = np.maximum.outer(edges[:-1], np.arange(old))
    ends = np.minimum.outer(edges[1:], np.arange(1, old + 1))
    return np.maximum(ends - starts, 0) * new / old


def between_centres(new: int, old: int) -> Exact:
    """Interpolate between the two old pixels about each new centre; the border is repeated."""
    weights = np.zeros((new, old))
    for row, centre in zip(weights, (np.arange(new) + 0.5) * old / new - 0.5, strict=True):
        at = min(max(centre, 0), old - 1)
        first = int(at)
        row[first] = 1 - (at - first)
        row[min(first + 1, old - 1)] += at - first
    return weights


def area_mean(image: Exact, height: int, width: int) -> Exact:
    """Average what lies under each pixel, those at its border by the part that does."""
    return along_both(shares_under, image, (height, width))


def bilinear(image: Exact, height: int, width: int) -> Exact:
    return along_both(between_centres, image, (height, width))


def halved(image: Exact, height: int, width: int) -> Exact:
    """Average 2 x 2 pixels, rounded, while both sides are three times the new ones or more."""
    while image.shape[0] >= 3 * height and image.shape[1] >= 3 * width:
        rows, columns = image.shape[0] // 2, image.shape[1] // 2
        blocks = image[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2)
        image = np.floor(blocks.mean(axis=(1, 3), dtype=np.float64) + 0.5)
    return image


def sampled(image: Exact, height: int, width: int) -> Exact:
    """Average blocks of bilinear samples, as few as lie at most two pixels apart."""
    image = halved(image, height, width)
    rows, columns = image.shape
    down, across = math.ceil(rows / (2 * height)), math.ceil(columns / (2 * width))
    samples = bilinear(image, down * height, across * width)
    return samples.reshape(height, down, width, across).mean(axis=(1, 3))


def distance(given: npt.NDArray[np.generic], exact: npt.NDArray[np.generic]) -> float:
    return float(np.abs(given.astype(np.float64) - exact.astype(np.float64)).max())


@pytest.mark.parametrize("color", COLORS)
def test_gray_is_bt_601(color: str) -> None:
    crop = noise(HEIGHT, WIDTH, 3)
    assert distance(processed(crop, GRAY, color)[:, :, 0], bt_601(crop, color)) <= ROUNDED_ONCE


@pytest.mark.parametrize("shape", [(HEIGHT, WIDTH), (HEIGHT, WIDTH, 1)])
def test_a_gray_crop_of_the_models_size_stays_as_it_is(shape: tuple[int, ...]) -> None:
    crop = noise(*shape)
    assert np.array_equal(processed(crop, GRAY), crop.reshape(GRAY.shape))


def test_a_blue_green_red_crop_is_turned_into_red_green_blue() -> None:
    crop = noise(HEIGHT, WIDTH, 3)
    assert np.array_equal(processed(crop, RGB, "bgr"), crop[:, :, ::-1])


def test_a_red_green_blue_crop_stays_as_it_is() -> None:
    crop = noise(HEIGHT, WIDTH, 3)
    assert np.array_equal(processed(crop, RGB, "rgb"), crop)


@pytest.mark.parametrize("shape", [(HEIGHT, WIDTH), (HEIGHT, WIDTH, 1)])
def test_a_gray_crop_fills_every_channel_of_a_colour_model(shape: tuple[int, ...]) -> None:
    crop = noise(*shape)
    expected = np.repeat(crop.reshape(HEIGHT, WIDTH, 1), 3, axis=2)
    assert np.array_equal(processed(crop, RGB), expected)


@pytest.mark.parametrize("shape", [*SHRINKING, *GROWING])
def test_a_crop_is_sampled_between_its_pixels_and_the_samples_averaged(
    shape: tuple[int, int],
) -> None:
    crop = noise(*shape)
    exact = sampled(crop, HEIGHT, WIDTH)
    assert distance(processed(crop, GRAY)[:, :, 0], exact) <= ROUNDED_TWICE


@pytest.mark.parametrize("shape", [(24, 20), (48, 40), (24, 80), (12, 40), (96, 20)])
def test_shrinking_by_even_factors_averages_areas(shape: tuple[int, int]) -> None:
    crop = noise(*shape)
    exact = area_mean(crop, HEIGHT, WIDTH)
    assert distance(processed(crop, GRAY)[:, :, 0], exact) <= ROUNDED_TWICE


def kept(shape: tuple[int, int], height: int, width: int) -> tuple[int, int]:
    """The rows and columns that halving takes in; odd last ones it leaves out."""
    rows, columns = shape
    times = 0
    while rows >> times >= 3 * height and columns >> times >= 3 * width:
        times += 1
    return rows >> times << times, columns >> times << times


@pytest.mark.parametrize("shape", SHRINKING)
def test_shrinking_leaves_no_source_pixel_out(shape: tuple[int, int]) -> None:
    """A row or column alone in the dark stays as light, all in all, as half of its share."""
    for axis in (0, 1):
        for at in range(kept(shape, HEIGHT, WIDTH)[axis]):
            line = np.zeros(shape, np.uint8)
            line[(slice(None),) * axis + (at,)] = 255
            assert processed(line, GRAY).mean() > 0.5 * 255 / shape[axis] - 0.5


def test_shrinking_a_picture_is_nearly_averaging_its_areas() -> None:
    rng = np.random.default_rng(0)
    differences = []
    for shape in [(130, 125), (180, 160), (181, 163), (333, 211), (403, 400)]:
        soft = cv2.GaussianBlur(rng.normal(128, 300, shape), (0, 0), 2).clip(0, 255)
        picture = np.rint(soft).astype(np.uint8)
        rows, columns = kept(shape, 48, 48)
        exact = area_mean(picture[:rows, :columns], 48, 48)
        given = processed(picture, InputSpec(48, 48))[:, :, 0]
        aliased = processed(picture, InputSpec(48, 48, interpolation="linear"))[:, :, 0]
        differences.append([float(np.abs(g - exact).mean()) for g in (given, aliased)])
    assert max(given for given, _ in differences) < 4
    assert all(given < aliased / 2 for given, aliased in differences)


@pytest.mark.parametrize("shape", [(8, 8), (12, 8), (23, 9), (9, 19)])
def test_growing_in_any_direction_is_bilinear(shape: tuple[int, int]) -> None:
    crop = noise(*shape)
    assert distance(processed(crop, GRAY)[:, :, 0], bilinear(crop, HEIGHT, WIDTH)) <= 1


@pytest.mark.parametrize("shape", [*SHRINKING, *GROWING])
def test_a_model_of_linear_interpolation_never_averages(shape: tuple[int, int]) -> None:
    crop = noise(*shape)
    exact = bilinear(crop, HEIGHT, WIDTH)
    assert distance(processed(crop, LINEAR)[:, :, 0], exact) <= 1


@pytest.mark.parametrize("shape", SHRINKING)
def test_each_channel_shrinks_by_itself(shape: tuple[int, int]) -> None:
    crop = noise(*shape, 3)
    given = processed(crop, RGB, "rgb")
    for channel in range(3):
        exact = sampled(crop[:, :, channel], HEIGHT, WIDTH)
        assert distance(given[:, :, channel], exact) <= ROUNDED_TWICE


@pytest.mark.parametrize("shape", SHRINKING)
def test_colour_turns_gray_and_shrinks(shape: tuple[int, int]) -> None:
    crop = noise(*shape, 3)
    exact = sampled(bt_601(crop, "bgr"), HEIGHT, WIDTH)
    assert distance(processed(crop, GRAY)[:, :, 0], exact) <= ROUNDED_TWICE + ROUNDED_ONCE


@pytest.mark.parametrize("spec", [GRAY, RGB, LINEAR])
@pytest.mark.parametrize("shape", [(40, 50), (40, 50, 3), (9, 9), (12, 10, 3), (8, 4000)])
def test_a_flat_crop_stays_flat(spec: InputSpec, shape: tuple[int, ...]) -> None:
    assert (processed(np.full(shape, 201, np.uint8), spec) == 201).all()


VIEWS: dict[str, Callable[[Image], Image]] = {
    "upside down": lambda image: image[::-1],
    "mirrored": lambda image: image[:, ::-1],
    "channels turned round": lambda image: image[:, :, ::-1],
    "on its side": lambda image: image.swapaxes(0, 1),
    "every second pixel": lambda image: image[::2, ::2],
    "cut out": lambda image: image[3:33, 5:44],
    "one channel": lambda image: image[:, :, 1],
    "one channel, kept": lambda image: image[:, :, 2:],
    "column by column": np.asfortranarray,
    "one row repeated": lambda image: np.broadcast_to(image[:1], image.shape),
    "one channel repeated": lambda image: np.broadcast_to(image[:, :, :1], image.shape),
}


@pytest.mark.parametrize("spec", [GRAY, RGB, InputSpec(40, 48)])
@pytest.mark.parametrize("name", VIEWS)
def test_a_view_gives_what_its_copy_gives(name: str, spec: InputSpec) -> None:
    view = VIEWS[name](noise(40, 48, 3))
    assert np.array_equal(processed(view, spec), processed(view.copy(order="C"), spec))


@pytest.mark.parametrize("spec", [GRAY, RGB])
@pytest.mark.parametrize("shape", [(HEIGHT, WIDTH), (30, 30), (30, 30, 1), (30, 30, 3)])
def test_the_crop_itself_is_only_read(spec: InputSpec, shape: tuple[int, ...]) -> None:
    crop = noise(*shape)
    crop.setflags(write=False)
    before = crop.tobytes()
    processed(crop, spec)
    assert crop.tobytes() == before


def test_a_row_of_a_batch_is_filled_in_place() -> None:
    batch = np.full((3, *GRAY.shape), 170, np.uint8)
    preprocess(np.full((30, 30), 9, np.uint8), GRAY, batch[1])
    assert batch.reshape(3, -1).min(axis=1).tolist() == [170, 9, 170]
    assert batch.reshape(3, -1).max(axis=1).tolist() == [170, 9, 170]


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (1024, 1)])
def test_models_may_have_any_input_size(size: tuple[int, int]) -> None:
    assert (processed(np.full((20, 30), 9, np.uint8), InputSpec(*size)) == 9).all()


@pytest.mark.parametrize("kind", [list, iter])
def test_many_crops_are_stacked_in_their_order(kind: Callable[[list[Image]], Any]) -> None:
    crops = [noise(30, 30, 3), noise(12, 10), noise(9, 40, 1)]
    expected = [processed(crop, GRAY) for crop in crops]
    assert np.array_equal(preprocess_all(kind(crops), GRAY), expected)


def test_no_crops_are_a_batch_of_none() -> None:
    batch = preprocess_all([], RGB)
    assert (batch.shape, batch.dtype) == ((0, *RGB.shape), np.uint8)
