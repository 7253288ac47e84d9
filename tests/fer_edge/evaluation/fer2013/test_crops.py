"""Selections of labelled crops, their hash, and copies among them."""

from __future__ import annotations

import numpy as np
import pytest
from made_fer2013 import first_pixels, noise

from fer_edge.evaluation.fer2013 import LabelledCrops, copies_of


@pytest.fixture
def crops() -> LabelledCrops:
    images = np.stack([noise(seed) for seed in range(4)])
    return LabelledCrops(images, np.array([0, 1, 2, 3]), ("a", "b", "c", "d"))


@pytest.mark.parametrize(
    "index", [np.array([3, 1]), np.array([False, True, False, True])], ids=["positions", "mask"]
)
def test_a_selection_keeps_pictures_labels_and_names_together(
    index: np.ndarray, crops: LabelledCrops
) -> None:
    taken = crops.take(index)
    assert dict(zip(taken.names, taken.labels.tolist(), strict=True)) == {"b": 1, "d": 3}
    assert first_pixels(taken) == [1, 3]


def test_the_hash_does_not_depend_on_order_or_names(crops: LabelledCrops) -> None:
    turned = crops.take(np.array([2, 0, 3, 1]))
    renamed = LabelledCrops(turned.images, turned.labels, ("", "", "", ""))
    assert renamed.sha256 == crops.sha256


def test_the_hash_depends_on_every_pixel(crops: LabelledCrops) -> None:
    images = crops.images.copy()
    images[2, 47, 47] ^= 1
    assert LabelledCrops(images, crops.labels, crops.names).sha256 != crops.sha256


def test_the_hash_depends_on_every_label(crops: LabelledCrops) -> None:
    swapped = crops.labels[[1, 0, 2, 3]]
    assert LabelledCrops(crops.images, swapped, crops.names).sha256 != crops.sha256


def test_the_hash_depends_on_how_often_a_picture_comes(crops: LabelledCrops) -> None:
    assert crops.take(np.array([0, 1, 2, 3, 3])).sha256 != crops.sha256


def test_copies_are_found_pixel_by_pixel(crops: LabelledCrops) -> None:
    others = crops.images[[2, 0]].copy()
    others[1, 0, 0] += 1
    assert copies_of(crops.images, others).tolist() == [False, False, True, False]


def test_nothing_has_a_copy_in_nothing(crops: LabelledCrops) -> None:
    assert copies_of(crops.images, crops.images[:0]).tolist() == [False] * 4
