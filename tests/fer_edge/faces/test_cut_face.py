"""Cutting a face out of a frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fer_edge.errors import ConfigurationError, InputError
from fer_edge.faces.detection import cut_face

Frame = npt.NDArray[np.uint8]


@pytest.fixture(params=[(40, 60), (40, 60, 3)], ids=["gray", "color"])
def noise(request: pytest.FixtureRequest) -> Frame:
    shape: tuple[int, ...] = request.param
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def cut_from_a_wide_border(frame: Frame, x: int, y: int, width: int, height: int) -> Frame:
    """Cut as if the frame went on for ever, repeating its border."""
    wide = 200
    widths = [(wide, wide), (wide, wide), (0, 0)][: frame.ndim]
    endless = np.asarray(np.pad(frame, widths, mode="edge"), np.uint8)
    return endless[y + wide : y + wide + height, x + wide : x + wide + width]


class TestCutFace:
    def test_without_margin_and_squaring_it_is_the_box(self, noise: Frame) -> None:
        crop = cut_face(noise, (7, 5, 20, 11), square=False)
        np.testing.assert_array_equal(crop, noise[5:16, 7:27])

    @pytest.mark.parametrize(
        ("box", "margin", "square", "expected"),
        [
            ((20, 10, 20, 10), 0.0, True, (20, 5, 20, 20)),
            ((20, 10, 10, 20), 0.0, True, (15, 10, 20, 20)),
            ((20, 10, 20, 10), 0.1, False, (18, 8, 24, 14)),
            ((20, 10, 20, 10), 0.1, True, (18, 3, 24, 24)),
            ((0, 0, 10, 10), 0.5, True, (-5, -5, 20, 20)),
            ((50, 30, 10, 10), 1.0, True, (40, 20, 30, 30)),
            ((-8, -4, 20, 20), 0.0, True, (-8, -4, 20, 20)),
            ((0, 0, 60, 40), 1.0, True, (-60, -70, 180, 180)),
            ((59, 39, 30, 30), 0.0, True, (59, 39, 30, 30)),
        ],
    )
    def test_grows_squares_and_repeats_the_border(
        self,
        noise: Frame,
        box: tuple[int, int, int, int],
        margin: float,
        square: bool,
        expected: tuple[int, int, int, int],
    ) -> None:
        crop = cut_face(noise, box, margin=margin, square=square)
        np.testing.assert_array_equal(crop, cut_from_a_wide_border(noise, *expected))

    def test_a_shifted_box_cuts_a_shifted_crop(self, noise: Frame) -> None:
        for shift in range(4):
            crop = cut_face(noise, (10 + shift, 8, 15, 12), margin=0.15)
            reference = cut_face(np.roll(noise, -shift, axis=1), (10, 8, 15, 12), margin=0.15)
            np.testing.assert_array_equal(crop, reference)

    def test_a_fractional_box_that_only_touches_the_frame_takes_its_border(
        self, noise: Frame
    ) -> None:
        crop = cut_face(noise, (59.8, 10.0, 5.0, 5.0))
        np.testing.assert_array_equal(crop, np.repeat(noise[10:15, 59:60], 5, axis=1))

    def test_is_a_copy(self, noise: Frame) -> None:
        crop = cut_face(noise, (0, 0, 60, 40), square=False)
        assert not np.shares_memory(crop, noise)
        assert crop.flags.c_contiguous
        assert crop.dtype == np.uint8

    def test_takes_a_view_that_is_not_contiguous(self, noise: Frame) -> None:
        crop = cut_face(noise[::2, ::-2], (2, 3, 10, 10))
        np.testing.assert_array_equal(crop, noise[::2, ::-2][3:13, 2:12])

    @pytest.mark.parametrize(
        ("box", "why"),
        [
            ((5, 5, 0, 10), "no area"),
            ((5, 5, 10, -1), "no area"),
            ((60, 0, 10, 10), "wholly outside"),
            ((0, 40, 10, 10), "wholly outside"),
            ((-10, 0, 10, 10), "wholly outside"),
            ((0, -10, 10, 10), "wholly outside"),
            ((0, 0, 10**9, 10**9), "4 times as long as the frame"),
            ((0, 0, float("nan"), 10), "finite"),
            ((float("inf"), 0, 10, 10), "finite"),
            ((0, 0, 10), "four finite numbers"),
            ((0, 0, 10**400, 1), "four finite numbers"),
            (("a", 0, 1, 1), "four finite numbers"),
            ("1234", "four finite numbers"),
            (None, "four finite numbers"),
        ],
    )
    def test_an_impossible_box_is_an_error_that_quotes_it(
        self, noise: Frame, box: Any, why: str
    ) -> None:
        with pytest.raises(InputError, match=why):
            cut_face(noise, box)

    def test_a_crop_that_would_fill_the_memory_is_not_cut(self) -> None:
        strip = np.zeros((1, 50_000), np.uint8)
        with pytest.raises(InputError, match="up to 100,000,000 are cut"):
            cut_face(strip, (0, 0, 200_000, 200_000), margin=1.0)

    def test_a_bad_frame_is_an_error(self) -> None:
        with pytest.raises(InputError, match="float64"):
            cut_face(np.zeros((8, 8)), (0, 0, 4, 4))  # type: ignore[arg-type]

    @pytest.mark.parametrize("margin", [-0.1, 1.1, float("nan"), "x", None])
    def test_a_margin_out_of_range_is_refused(self, noise: Frame, margin: Any) -> None:
        with pytest.raises(ConfigurationError, match="margin"):
            cut_face(noise, (0, 0, 4, 4), margin=margin)
