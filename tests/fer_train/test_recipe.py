"""Recipes: settings that make no sense, and the digest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from fer_edge.artifacts.record import encode
from fer_train.cli import main
from fer_train.presets import PRESETS, change, load_recipe, preset
from fer_train.recipe import (
    LONGEST,
    MEANINGS,
    Augmentation,
    Recipe,
    is_plain,
    require_plain,
    written_out,
)

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
        "frozen": ("conv_stem",),
    }
    value = getattr(MOBILENET, field)
    other = others.get(field, value + 1 if isinstance(value, int) else None)
    changed = replace(MOBILENET, **{field: value / 2 + 0.01 if other is None else other})
    assert changed.digest != MOBILENET.digest


def test_the_same_settings_have_the_same_digest() -> None:
    assert change(MOBILENET, {}, "x").digest == MOBILENET.digest


LEADING_OUT = [
    "", ".", "..", ".hidden", "-option", "../x", "a/b", "/etc/x", "a\\b", "C:x", "x\0", "x\n", "ä",
    "a b", "٣", "x" * (LONGEST + 1),
]  # fmt: skip


@pytest.mark.parametrize("name", ["m", "mobilenet-df2ab15bfa6c64a1", "resnet50.a1_in1k", "3"])
def test_a_plain_name_is_taken(name: str) -> None:
    require_plain("it", name)
    assert is_plain(name)


@pytest.mark.parametrize("name", LEADING_OUT)
def test_any_other_is_refused(name: str) -> None:
    assert not is_plain(name)
    with pytest.raises(ValueError, match="it should be at most 128 letters"):
        require_plain("it", name)


def names(settings: Mapping[str, Any], table: str = "") -> set[str]:
    found: set[str] = set()
    for name, value in settings.items():
        full = f"{table}.{name}" if table else name
        nested = isinstance(value, Mapping) and name != "arguments"
        found |= names(value, full) if nested else {full}
    return found


def test_each_setting_has_a_meaning_and_nothing_else_has() -> None:
    assert names(encode(preset("dense"))) == MEANINGS.keys()


@pytest.mark.parametrize("name", PRESETS)
def test_what_is_shown_is_the_same_recipe(name: str, tmp_path: Path) -> None:
    path = tmp_path / "shown.toml"
    path.write_text(written_out(PRESETS[name]))
    assert load_recipe(path) == PRESETS[name]


def test_the_command_needs_neither_data_nor_a_folder(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--show-recipe", "--model", "dense", "--epochs", "7"]) == 0
    shown = capsys.readouterr().out
    assert "epochs = 7 " in shown
    for meaning in MEANINGS.values():
        assert meaning in shown
