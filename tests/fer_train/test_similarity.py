"""Pictures that are nearly the same."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from fer_edge.images.synthetic import synthetic_crops
from fer_train.similarity import near_copies


def drawings(count: int) -> np.ndarray:
    return np.stack([cv2.resize(crop, (96, 96)) for crop in synthetic_crops(count)])


@pytest.mark.parametrize(
    "change",
    [
        lambda image: cv2.resize(cv2.resize(image, (64, 64)), (96, 96)),
        lambda image: cv2.imdecode(
            cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_COLOR
        ),
        lambda image: cv2.convertScaleAbs(image, alpha=0.9, beta=10),
    ],
    ids=["resized", "compressed", "brighter"],
)
def test_a_changed_copy_is_found_and_others_are_not(change: object) -> None:
    pictures = drawings(40)
    changed = np.stack([change(image) for image in pictures[:5]])
    assert near_copies(changed, pictures[:5]).all()
    assert not near_copies(changed, pictures[5:]).any()
