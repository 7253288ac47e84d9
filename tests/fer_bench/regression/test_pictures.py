"""The pictures of a run."""

from __future__ import annotations

from typing import Any

import numpy as np

from fer_bench.regression.pictures import load_data


def test_pictures_have_an_order_of_their_own(tmp_path: Any, workbench: Any) -> None:
    """A CSV has them in another order than a zip, and the bits of a baseline mean the same."""
    read = load_data(workbench.data, "public-test")
    lines = [
        f'{label},"{" ".join(map(str, image.ravel()))}",PublicTest'
        for image, label in zip(read.crops.images, read.crops.labels, strict=True)
    ]
    np.random.default_rng(0).shuffle(lines)
    table = tmp_path / "fer2013.csv"
    table.write_text("\n".join(["emotion,pixels,Usage", *lines]))
    again = load_data(table, "public-test")
    assert again.sha256 == read.sha256
    np.testing.assert_array_equal(again.crops.images, read.crops.images)
    np.testing.assert_array_equal(again.crops.labels, read.crops.labels)
