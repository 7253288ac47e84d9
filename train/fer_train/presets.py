"""Recipes to start from: one for each model of ours, and defaults for all others of timm."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fer_edge.artifacts.record import decode, encode
from fer_edge.artifacts.spec import InputSpec, NetworkSpec
from fer_edge.errors import ArtifactError, ConfigurationError
from fer_edge.system.dependencies import requires
from fer_edge.system.read_file import reason_of, refuse_git_lfs
from fer_train.recipe import LONGEST_MODEL, Augmentation, Recipe, is_plain

PRESETS: dict[str, Recipe] = {
    "mobilenet": Recipe(
        model="mobilenet",
        network=NetworkSpec(
            "mobilenetv4_conv_small", stem_stride=1, batch_norm_epsilon=1e-3, activation="relu6"
        ),
        input=InputSpec(48, 48),
        augmentation=Augmentation(shift=0.08, scale=0.12, brightness=0.15, erasing=0.1),
        learning_rate=2e-3,
        mixup=0.1,
    ),
    "dense": Recipe(
        model="dense",
        network=NetworkSpec("fer_dense", batch_norm_epsilon=1e-3, arguments={"width": 48}),
        input=InputSpec(48, 48),
        augmentation=Augmentation(shift=0.15, scale=0.14, erasing=0.3),
        warmup_epochs=2,
        votes=0.3,
        distillation=0.5,
        mixup=0.0,
        dropout=0.3,
    ),
    "vit": Recipe(
        model="vit",
        network=NetworkSpec("fer_vit", batch_norm_epsilon=1e-3, arguments={"width": 48}),
        input=InputSpec(48, 48),
        augmentation=Augmentation(shift=0.15, scale=0.14, erasing=0.3),
        epochs=80,
        learning_rate=1e-3,
        warmup_epochs=4,
        gradient_clip=1.0,
        votes=0.3,
        mixup=0.0,
        dropout=0.0,
        drop_path=0.05,
        ema=0.999,
    ),
    "efficientnet-lite0": Recipe(
        model="efficientnet-lite0",
        network=NetworkSpec("tf_efficientnet_lite0", stem_stride=1),
        input=InputSpec(48, 48, mean=(127 / 255,), std=(128 / 255,)),
        augmentation=Augmentation(scale=0.12, erasing=0.2),
        epochs=16,
        learning_rate=1e-3,
        warmup_epochs=1,
        votes=0.3,
        distillation=0.5,
        mixup=0.0,
    ),
    "vit-base": Recipe(
        model="vit-base",
        network=NetworkSpec("vit_base_patch16_224"),
        input=InputSpec(224, 224, "rgb", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "linear"),
        augmentation=Augmentation(rotation=15.0, scale=0.0, erasing=0.0),
        epochs=30,
        batch_size=32,
        learning_rate=2e-5,
        weight_decay=0.01,
        schedule="plateau",
        warmup_epochs=0,
        early_stopping=3,
        gradient_clip=1.0,
        label_smoothing=0.0,
        mixup=0.0,
        dropout=0.0,
        ema=0.0,
        evaluate_every=1,
    ),
}
PRESETS["mobilenet-v1"] = replace(
    PRESETS["efficientnet-lite0"],
    model="mobilenet-v1",
    network=NetworkSpec("fer_mobilenet_v1", stem_stride=1, batch_norm_epsilon=1e-3),
    input=InputSpec(48, 48, mean=(114.769 / 255,), std=(0.5,)),
)
PRESETS["vit-base-gap"] = replace(
    PRESETS["vit-base"],
    model="vit-base-gap",
    # timm's has sixteen heads, Google's B/16 twelve
    network=NetworkSpec("vit_base_patch16_gap_224", arguments={"num_heads": 12}),
)


def preset(model: str, weights: str | None = None) -> Recipe:
    """Look up the settings of a model: a preset, or defaults for an architecture of timm.

    ``weights`` are those to start from, if any. With them, an architecture of timm gets the input
    that it was published with, or that of the checkpoint if they are one of ours, and every input
    gets the mean and std that are told beside the weights. Raises ConfigurationError for a name
    that is neither a preset nor an architecture.
    """
    recipe = PRESETS[model] if model in PRESETS else _for_timms(model, weights)
    if weights is None:
        return recipe
    with requires("train"):
        from fer_train.pretrained.beside import with_normalisation_beside
    return replace(recipe, input=with_normalisation_beside(weights, recipe.input))


def _for_timms(model: str, weights: str | None) -> Recipe:
    with requires("train"):
        import timm

        import fer_train.teacher_networks  # noqa: F401 - adds them to timm's names
        from fer_edge.torch_model.checkpoint import read_spec
        from fer_train.pretrained.beside import network_beside
    published, is_known = None, is_plain(model, LONGEST_MODEL) and timm.is_model(model)
    try:
        published = timm.get_pretrained_cfg(model) if is_known else None
    except RuntimeError:  # there is such an architecture, and no such tag behind its dot
        is_known = False
    if not is_known:
        raise ConfigurationError(
            f"unknown model {model!r:.80}; there are {', '.join(PRESETS)}, and the names of "
            "timm.list_models()"
        )
    recipe = _defaults(model, published, is_pretrained=weights is not None)
    if weights is None:
        return recipe
    own, arguments = network_beside(weights, model, recipe.input)
    network = replace(recipe.network, arguments=arguments)
    recipe = replace(recipe, input=own, network=network)
    try:
        theirs = read_spec(Path(weights))
    except ArtifactError:
        return recipe
    if theirs.network.architecture != model:
        return recipe
    return replace(recipe, network=theirs.network, input=theirs.input)


def _defaults(model: str, published: Any, *, is_pretrained: bool) -> Recipe:
    """The published input for a pretrained network or one of a fixed size; else FER2013's.

    A convolutional network strides five times; on 48 pixels its first stride is left out.
    """
    if published is not None and (published.fixed_input_size or is_pretrained):
        _, height, width = published.input_size
        own = InputSpec(height, width, "rgb", published.mean, published.std, "linear")
        base = PRESETS["vit-base" if published.fixed_input_size else "efficientnet-lite0"]
        return replace(base, model=model, network=NetworkSpec(model), input=own)
    return Recipe(
        model=model,
        network=NetworkSpec(model, stem_stride=1, batch_norm_epsilon=1e-3),
        input=InputSpec(48, 48),
        learning_rate=1e-3,
    )


def load_recipe(path: Path) -> Recipe:
    """Read a recipe file: TOML, a ``model`` (default: mobilenet) and what differs from its preset.

    Raises ConfigurationError for a file that cannot be read, an unknown model or setting.
    """
    given = read_toml(path, "the recipe")
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


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """Read a TOML file; ``what`` says what it should be, as in "the recipe".

    Raises ConfigurationError for a file that cannot be read, and MissingDependencyError on Python
    3.10 without the ``train`` extra, which brings a TOML reader there.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        with requires("train"):
            import tomli as tomllib
    refuse_git_lfs(path, ConfigurationError)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as problem:  # an endless number is a ValueError
        raise ConfigurationError(f"cannot read {what} {path}: {reason_of(problem)}") from problem
