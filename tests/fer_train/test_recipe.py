"""Recipes: settings that make no sense, and the digest."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

import pytest

from fer_train.presets import PRESETS, change
from fer_train.recipe import Augmentation, Recipe

MOBILENET = PRESETS["mobilenet"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            (name, value)
            for name in ("epochs", "batch_size", "evaluate_every")
            for value in (0, -1)
        ),
        ("batch_norm_crops", 0),
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("learning_rate", math.inf),
        ("mixup_alpha", 0.0),
        ("weight_decay", -0.1),
        ("warmup_epochs", -1),
        *((n, v) for n in ("label_smoothing", "dropout", "ema") for v in (-0.1, 1.0)),
        ("mixup", 1.1),
        ("dropout", math.nan),
        ("drop_path", 1.0),
        ("patch_dropout", 1.0),
        ("seed", -1),
        ("seed", 2**32),
        ("model", ""),
        ("model", "../mobilenet"),
        ("model", "m" * 97),
        ("optimizer", "adamv"),
        ("schedule", "linear"),
        ("arithmetic", "fp8"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name} should be .*, not "):
        replace(MOBILENET, **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((field.name, -0.01) for field in fields(Augmentation)),
        *((field.name, math.nan) for field in fields(Augmentation)),
        ("flip", 1.01),
        ("rotation", 181.0),
        ("shift", 1.01),
        ("scale", 1.0),
        ("erasing", 1.01),
        ("erasing_area", 1.01),
    ],
)
def test_an_augmentation_that_makes_no_sense_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{name} should be from 0 to .*, not "):
        Augmentation(**{name: value})


# --- the digest


@pytest.mark.parametrize("field", [field.name for field in fields(Recipe)])
def test_every_setting_is_in_the_digest(field: str) -> None:
    others: dict[str, Any] = {
        "model": "other",
        "network": replace(MOBILENET.network, stem_stride=2),
        "input": replace(MOBILENET.input, std=(0.3,)),
        "augmentation": Augmentation(flip=0.1),
        "optimizer": "sgd",
        "schedule": "plateau",
        "arithmetic": "bf16",
        "gradient_clip": 1.0,
    }
    value = getattr(MOBILENET, field)
    other = others.get(field, value + 1 if isinstance(value, int) else None)
    changed = replace(MOBILENET, **{field: value / 2 + 0.01 if other is None else other})
    assert changed.digest != MOBILENET.digest


def test_the_same_settings_have_the_same_digest() -> None:
    assert change(MOBILENET, {}, "x").digest == MOBILENET.digest
