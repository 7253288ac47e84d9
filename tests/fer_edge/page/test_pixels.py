"""The browser's pixels against the runtime's."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from fer_edge import FaceDetector, InputSpec
from fer_edge.images.preprocess import preprocess_all

OpenPage = Callable[..., Any]

_RUN = """async ([base, spec, crops]) => {
  const {preprocess} = await import(base + 'engine/pixels.js');
  const bytes = (text) => Uint8Array.from(atob(text), (it) => it.charCodeAt(0));
  const channels = spec.color === 'gray' ? 1 : 3;
  return crops.map(({width, height, data}) => {
    const row = new Uint8Array(spec.height * spec.width * channels);
    preprocess({width, height, data: bytes(data)}, spec, row);
    return Array.from(row);
  });
}"""


_SEARCH = """async ([base, {width, height, data}, size]) => {
  const {detectorInput, readPixels} = await import(base + 'engine/frame.js');
  const pixels = Uint8ClampedArray.from(atob(data), (it) => it.charCodeAt(0));
  const frames = [
    await createImageBitmap(new ImageData(pixels, width, height)),
    new VideoFrame(pixels, {format: 'RGBA', codedWidth: width, codedHeight: height, timestamp: 0}),
  ];
  const canvas = new OffscreenCanvas(1, 1);
  const images = [];
  for (const frame of frames) images.push(await readPixels(frame, canvas));
  return images.map((image) => Array.from(detectorInput(image, ...size).planes));
}"""


def _plain(crop: npt.NDArray[np.uint8]) -> dict[str, Any]:
    rgba = np.dstack([crop[:, :, ::-1], np.full(crop.shape[:2], 255, np.uint8)])
    data = base64.b64encode(np.ascontiguousarray(rgba).tobytes()).decode()
    return {"width": crop.shape[1], "height": crop.shape[0], "data": data}


@pytest.mark.parametrize(
    "spec",
    [
        InputSpec(48, 48),
        InputSpec(48, 48, interpolation="linear"),
        InputSpec(40, 56, color="rgb", mean=(0.5,) * 3, std=(0.25,) * 3),
    ],
    ids=["gray", "linear", "rgb"],
)
def test_the_browser_makes_the_same_tensor_of_a_crop(
    spec: InputSpec, open_page: OpenPage, site_address: str
) -> None:
    random = np.random.default_rng(5)
    sides = [(8, 8), (48, 48), (31, 77), (96, 96), (100, 101), (150, 149), (300, 310), (640, 480)]
    crops = [random.integers(0, 256, (*side, 3), np.uint8) for side in sides]

    page = open_page(accept=False)
    given = page.evaluate(_RUN, [site_address, asdict(spec), [_plain(crop) for crop in crops]])

    expected = preprocess_all(crops, spec)
    for side, tensor, row in zip(sides, expected, given, strict=True):
        gaps = np.abs(tensor.astype(int) - np.array(row).reshape(spec.shape))
        assert gaps.max() == 0, (side, np.count_nonzero(gaps), gaps.max())


@pytest.mark.parametrize("side", [(40, 60), (480, 640), (301, 500)], ids=str)
def test_the_browser_searches_the_same_copy_of_a_frame(
    side: tuple[int, int], open_page: OpenPage, site_address: str
) -> None:
    frame = np.random.default_rng(3).integers(0, 256, (*side, 3), np.uint8)
    size = FaceDetector(max_side=320).searched_size(side[1], side[0])

    page = open_page(accept=False)
    bitmap, video = page.evaluate(_SEARCH, [site_address, _plain(frame), list(size)])

    small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    rows, columns = (-(-length // 32) * 32 for length in small.shape[:2])
    given = np.array(video).reshape(3, rows, columns)[:, : size[1], : size[0]]
    assert bitmap == video
    assert np.abs(given - small.transpose(2, 0, 1)).max() <= 1
    assert np.sum(video) == given.sum()  # zeros right and below
