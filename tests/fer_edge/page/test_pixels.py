"""The browser's crops against the runtime's, byte for byte."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fer_edge import InputSpec
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
