"""What is accepted as pixels, and what is said about anything else."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from fer_edge.errors import InputError
from fer_edge.images.pixels import MIN_SIDE, check_crop, check_frame, is_one_picture
from fer_edge.images.reading import MAX_PIXELS


def of(module: str, name: str) -> object:
    """An object of a package that need not be installed."""
    return type(name, (), {"__module__": module})()


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (8, 8, 3), (8, 500), (500, 8, 3)])
def test_a_fitting_crop_passes_as_it_is(shape: tuple[int, ...]) -> None:
    crop = np.zeros(shape, np.uint8)
    assert check_crop(crop) is crop


UNFIT = [
    pytest.param(
        None, "pixels in a numpy array, not None; cv2.imread gives None for a file", id="nothing"
    ),
    pytest.param([[0] * 48] * 48, r"not list; give np\.asarray\(pixels, np\.uint8\)", id="list"),
    pytest.param(
        b"\xff\xd8\xff", "not bytes; decode the file's bytes first: cv2.imdecode", id="bytes"
    ),
    pytest.param(np.zeros((48, 48), np.int64), "uint8 pixels, not int64", id="int64"),
    pytest.param(np.zeros((48, 48), bool), "uint8 pixels, not bool", id="bool"),
    pytest.param(np.zeros((48, 48), np.uint16), "uint8 pixels, not uint16", id="uint16"),
    pytest.param(np.full((48, 48), None), "uint8 pixels, not object", id="objects"),
    pytest.param(
        np.zeros((48, 48), np.float32),
        r"not float32; its values are 0 to 1: .*\(pixels \* 255\)",
        id="float",
    ),
    pytest.param(
        np.full((48, 48), np.nan, np.float32), "float32; it holds NaN or Inf", id="not a number"
    ),
    pytest.param(np.full((48, 48), np.inf), "float64; it holds NaN or Inf", id="infinite"),
    pytest.param(
        np.linspace(0, 255, 64).reshape(8, 8),
        r"0 to 255 already: .* pixels\.astype",
        id="float 255",
    ),
    pytest.param(np.full((9, 9), -3.0), r"its values are -3 to -3: scale it", id="negative"),
    pytest.param(np.full((9, 9), 4095, np.uint16), r"up to 4095.*\(pixels >> 4\)", id="12 bits"),
    pytest.param(np.full((9, 9), 1023, np.uint16), r"up to 1023.*\(pixels >> 2\)", id="10 bits"),
    pytest.param(np.full((9, 9), 16383, np.uint16), r"to 16383.*\(pixels >> 6\)", id="14 bits"),
    pytest.param(np.full((9, 9), 16384, np.uint16), r"to 16384.*\(pixels >> 8\)", id="16 bits"),
    pytest.param(
        np.full((9, 9), 1.02), r"about 0 to 1, 1\.02 to .*clip\(0, 1\) \* 255", id="resized"
    ),
    pytest.param((False, None), r"tuple; VideoCapture\.read\(\) gives \(False", id="no frame"),
    pytest.param([np.zeros((9, 9), np.uint8)], "not list; give several crops", id="crops"),
    pytest.param(["a.png"], "not list; give several crops to predict_batch", id="paths"),
    pytest.param(of("cupy", "ndarray"), r"give array\.get\(\)", id="cupy"),
    pytest.param(np.float32(1), r"float32; give np\.asarray of it", id="array-like"),
    pytest.param((True, np.zeros((9, 9, 3), np.uint8)), r"tuple; give the array in", id="read"),
    pytest.param(of("cv2", "UMat"), r"not cv2\.UMat; give the array that it holds", id="UMat"),
    pytest.param(io.BytesIO(b"x"), "not BytesIO; give its path, or data = file.read", id="file"),
    pytest.param(of("PIL.Image", "Image"), "not PIL.Image; give np.asarray", id="PIL"),
    pytest.param(of("torch", "Tensor"), r"not torch.Tensor; give tensor\.cpu\(\)", id="torch"),
    pytest.param(object(), r"not object; give uint8 \(H, W\)", id="object"),
    pytest.param({"face": 1}, r"not dict; give uint8 \(H, W\)", id="dict"),
    pytest.param(5, r"not int; give uint8 \(H, W\)", id="number"),
    pytest.param(iter(()), "iterator; give several crops to predict_batch", id="iterator"),
    pytest.param(np.zeros((), np.uint8), r"for colour, not \(\)", id="scalar"),
    pytest.param(np.zeros(48, np.uint8), r"not \(48,\); .* decode it first: cv2", id="one axis"),
    pytest.param(
        np.zeros((48, 48, 2), np.uint8), r"not \(48, 48, 2\); .* pixels\[:, :, 0\]", id="2 channels"
    ),
    pytest.param(
        np.zeros((48, 48, 4), np.uint8), r"not \(48, 48, 4\); drop .*COLOR_BGRA2BGR", id="alpha"
    ),
    pytest.param(
        np.zeros((3, 48, 48), np.uint8), r"\(3, 48, 48\); its channels come first", id="planes"
    ),
    pytest.param(
        np.zeros((1, 48, 48, 3), np.uint8),
        r"\(1, 48, 48, 3\); give several crops to predict_batch",
        id="batch",
    ),
    pytest.param(
        np.zeros((0, 48), np.uint8),
        "height 0 and width 48; it is empty: was its box outside",
        id="no rows",
    ),
    pytest.param(np.zeros((48, 0, 3), np.uint8), "height 48 and width 0", id="no columns"),
    pytest.param(
        np.zeros((MIN_SIDE - 1, 48), np.uint8),
        "at least 8 x 8 pixels, not height 7 and width 48",
        id="too low",
    ),
    pytest.param(
        np.zeros((48, MIN_SIDE - 1, 3), np.uint8),
        "at least 8 x 8 pixels, not height 48 and width 7",
        id="too narrow",
    ),
]


@pytest.mark.parametrize(("crop", "message"), UNFIT)
def test_an_unfit_crop_is_refused_with_what_was_expected_and_came(
    crop: object, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        check_crop(crop)
    assert str(caught.value).startswith("expected")
    assert caught.value.index is None


def test_in_a_batch_an_unfit_crop_is_named() -> None:
    with pytest.raises(InputError, match=r"^crop 5 of the batch: expected pixels") as caught:
        check_crop(None, 5)
    assert caught.value.index == 5


def test_a_crop_has_as_many_pixels_as_a_picture_may_have() -> None:
    largest = np.broadcast_to(np.uint8(0), (10_000, MAX_PIXELS // 10_000))  # of a single byte
    assert check_crop(largest) is largest
    with pytest.raises(InputError, match=r"up to 100,000,000 pixels, .* FaceAnalyzer"):
        check_crop(np.broadcast_to(np.uint8(0), (10_000, MAX_PIXELS // 10_000 + 1)))


@pytest.mark.parametrize("path", ["a.png", Path("a.png")])
def test_the_path_of_a_frame_is_told_to_be_read_first(path: object) -> None:
    with pytest.raises(InputError, match=r"not the path 'a\.png'; read it first: .*read_image"):
        check_frame(path)


@pytest.mark.parametrize("shape", [(1, 1), (5, 4), (5, 4, 3)])
def test_a_frame_passes_as_it_is(shape: tuple[int, ...]) -> None:
    frame = np.zeros(shape, np.uint8)
    assert check_frame(frame) is frame


def test_a_gray_frame_with_an_axis_for_it_is_one_without() -> None:
    assert check_frame(np.zeros((5, 4, 1), np.uint8)).shape == (5, 4)


def test_an_empty_frame_is_refused() -> None:
    with pytest.raises(InputError, match="at least 1 x 1 pixels, not height 0 and width 4"):
        check_frame(np.zeros((0, 4, 3), np.uint8))


@pytest.mark.parametrize(
    ("shape", "one"),
    [
        ((48, 48), True),
        ((48, 48, 3), True),
        ((48, 48, 2), True),
        ((48, 48, 5), True),
        ((2, 48, 48), False),
        ((2, 48, 48, 3), False),
        ((48,), False),
    ],
)
def test_one_picture_is_told_from_several(shape: tuple[int, ...], one: bool) -> None:
    assert is_one_picture(shape) is one
