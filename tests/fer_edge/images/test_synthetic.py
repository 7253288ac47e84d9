"""The drawings that stand in for faces."""

from __future__ import annotations

import numpy as np
import pytest

from fer_edge.images.synthetic import synthetic_crops


@pytest.mark.parametrize("count", [0, 1, 5])
def test_draws_as_many_as_asked(count: int) -> None:
    assert len(synthetic_crops(count)) == count


def test_each_is_a_colour_crop() -> None:
    for crop in synthetic_crops(3):
        assert crop.dtype == np.uint8
        assert crop.shape == (96, 96, 3)


def test_the_same_seed_draws_the_same() -> None:
    assert np.array_equal(synthetic_crops(4, seed=5), synthetic_crops(4, seed=5))


def test_fewer_are_the_first_of_more() -> None:
    assert np.array_equal(synthetic_crops(2), synthetic_crops(6)[:2])


def test_no_two_drawings_are_alike() -> None:
    drawn = [*synthetic_crops(20, seed=0), *synthetic_crops(20, seed=1)]
    assert len({crop.tobytes() for crop in drawn}) == 40


def test_each_has_contrast() -> None:
    assert all(crop.std() > 5 for crop in synthetic_crops(50))
