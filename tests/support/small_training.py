"""A training of a few seconds, and a data set of noise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from made_fer2013 import png, write_zip

from fer_edge import LABELS
from fer_edge.artifacts.spec import InputSpec, NetworkSpec
from fer_train.recipe import Recipe

__all__ = ["SMALL", "write_noise"]

SMALL = Recipe(
    model="test",
    network=NetworkSpec("test_efficientnet"),
    input=InputSpec(48, 48),
    epochs=3,
    batch_size=8,
    mixup=0.0,
    warmup_epochs=1,
    batch_norm_crops=16,
)


def write_noise(
    path: Path,
    count: Callable[[str, int], int],
    change: Callable[[np.ndarray, int], None] = lambda *_: None,
) -> Path:
    """Write a zip of ``count(usage, label)`` pictures of noise, maybe changed for their label."""
    rng, files = np.random.default_rng(0), {}
    for label, name in enumerate(LABELS):
        for usage, half in (("Training", "train"), ("PublicTest", "test")):
            for number in range(count(usage, label)):
                picture = rng.integers(0, 100, (48, 48), dtype=np.uint8)
                change(picture, label)
                files[f"{half}/{name}/{usage}_{number:05d}.png"] = png(picture)
    return write_zip(path, files)
