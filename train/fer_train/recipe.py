"""Recipe: every setting of a training, in one frozen record that goes into the checkpoint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomllib

from fer_edge.errors import ConfigurationError
from fer_edge.record import decode, encode
from fer_edge.spec import InputSpec, NetworkSpec

__all__ = ["PRESETS", "Augmentation", "Recipe", "load_recipe", "preset"]


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a training crop, each drawn per picture.

    Angles in degrees, ``shift`` as a fraction of the side, ``scale``, ``brightness`` and
    ``contrast`` as the largest relative change, ``erasing_area`` as the largest erased fraction.
    """

    flip: float = 0.5
    rotation: float = 12.0
    shift: float = 0.10
    scale: float = 0.15
    brightness: float = 0.2
    contrast: float = 0.2
    erasing: float = 0.25
    erasing_area: float = 0.15


@dataclass(frozen=True)
class Recipe:
    """What to train and how.

    ``mixup`` is the share of batches that are mixed, ``mixup_alpha`` the parameter of its Beta
    distribution (Zhang et al., ICLR 2018). ``ema`` is the decay per step of the averaged weights,
    which are the ones that are evaluated and kept; their batch-norm statistics are estimated anew
    on ``batch_norm_crops`` clean training crops before each evaluation.
    """

    model: str
    network: NetworkSpec
    input: InputSpec
    augmentation: Augmentation = Augmentation()
    epochs: int = 60
    batch_size: int = 128
    optimizer: str = "adamw"
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    warmup_epochs: int = 3
    label_smoothing: float = 0.1
    mixup: float = 0.3
    mixup_alpha: float = 0.4
    dropout: float = 0.2
    ema: float = 0.998
    batch_norm_crops: int = 4096
    evaluate_every: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        positive: dict[str, float] = {
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "seed": self.seed + 1,
        }
        positive |= {"evaluate_every": self.evaluate_every, "learning_rate": self.learning_rate}
        for name, value in positive.items():
            if value <= 0:
                raise ValueError(f"{name} is too small in the recipe for {self.model}")
        for name in ("label_smoothing", "mixup", "dropout", "ema"):
            if not 0 <= (value := getattr(self, name)) < 1:
                raise ValueError(f"{name} should be in [0, 1), not {value}")

    @property
    def digest(self) -> str:
        """sha256 over all settings."""
        return hashlib.sha256(json.dumps(encode(self), sort_keys=True).encode()).hexdigest()


PRESETS: dict[str, Recipe] = {
    "mobilenet": Recipe(
        model="mobilenet",
        network=NetworkSpec(
            "mobilenetv4_conv_small", stem_stride=1, batch_norm_epsilon=1e-3, activation="relu6"
        ),
        input=InputSpec(48, 48),
    ),
}


def preset(model: str) -> Recipe:
    """Look up the settings of a model. Raises ConfigurationError for an unknown one."""
    if model not in PRESETS:
        raise ConfigurationError(f"unknown model {model!r}; there are {', '.join(PRESETS)}")
    return PRESETS[model]


def load_recipe(path: Path) -> Recipe:
    """Read a recipe file: TOML, a ``model`` and whatever differs from its preset.

    Raises ConfigurationError for a file that cannot be read, an unknown model or setting.
    """
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        raise ConfigurationError(f"cannot read the recipe {path}: {problem}") from problem
    return change(preset(str(given.get("model", "mobilenet"))), given, str(path))


def change(recipe: Recipe, changes: Mapping[str, Any], where: str) -> Recipe:
    """Replace settings by those given as plain data, nested tables field by field."""
    merged = _merge(encode(recipe), changes)
    return decode(Recipe, merged, where, ConfigurationError)


def _merge(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        nested = isinstance(value, Mapping) and isinstance(base.get(key), dict)
        merged[key] = _merge(base[key], value) if nested else value
    return merged
