"""What networks of 224 pixels expect: RGB, normalised as for ImageNet, ``(N, 3, H, W)``."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

SIDE = 224
MEAN = np.array((0.485, 0.456, 0.406), np.float32)
STD = np.array((0.229, 0.224, 0.225), np.float32)


def imagenet_batch(crops: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
    """Crops, uint8 ``(H, W, 3)`` BGR, to float32 ``(N, 3, 224, 224)``."""
    batch = np.empty((len(crops), 3, SIDE, SIDE), np.float32)
    for row, crop in zip(batch, crops, strict=True):
        rgb = cv2.cvtColor(cv2.resize(crop, (SIDE, SIDE)), cv2.COLOR_BGR2RGB)
        row[:] = ((rgb.astype(np.float32) / 255 - MEAN) / STD).transpose(2, 0, 1)
    return batch


def softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)
