"""What is told of foreign weights, in their file or beside it: labels, input and settings.

FER2013 numbers its classes as we do. torchvision's ImageFolder, which reads a folder per class,
numbers them in alphabetical order. The two agree up to ``happy`` and no further.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import timm

from fer_edge.artifacts.record import parse_json
from fer_edge.artifacts.spec import CHANNELS, InputSpec
from fer_edge.emotion import LABELS
from fer_edge.errors import ArtifactError
from fer_edge.evaluation.classes import emotion_named
from fer_edge.system.read_file import read_file
from fer_edge.torch_model.network import NOT_SETTINGS

FACTS = ("id2label", "class_to_idx", "classes", "class_names", "label_names", "labels")
"""Names under which files keep their labels."""

_PLACEHOLDER = "label_"
_CLOSE = 2e-3
_PREPROCESSOR, _CONFIG = "preprocessor_config.json", "config.json"
_MAX_BYTES = 1 << 20

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and std of pixels from 0 to 1."""


def labels_in(facts: Mapping[str, object]) -> tuple[str, ...] | None:
    """Find the labels, in the order of the head's rows; None where nothing tells them.

    Takes a list of names, names by index (``id2label``) or indices by name (``class_to_idx``).
    """
    for key in FACTS:
        names = _in_order(facts.get(key))
        if names and not all(name.lower().startswith(_PLACEHOLDER) for name in names):
            return names
    return None


def _in_order(told: object) -> tuple[str, ...] | None:
    if isinstance(told, Mapping):
        pairs = [(v, k) if isinstance(v, int) else (k, v) for k, v in told.items()]
        try:
            numbered = {int(index): name for index, name in pairs}
        except (TypeError, ValueError, OverflowError):  # a file may hold anything
            return None
        if sorted(numbered) != list(range(len(pairs))):
            return None
        told = [numbered[index] for index in range(len(pairs))]
    if not isinstance(told, (list, tuple)) or not all(isinstance(name, str) for name in told):
        return None
    return tuple(told)


def rows_of(labels: Sequence[str], ours: Sequence[str] = LABELS) -> tuple[int, ...] | None:
    """Give the index of each of our labels; None where the classes are others.

    The usual variants of an emotion's name are known: ``Anger`` is ``angry``.
    """
    theirs, wanted = (
        [emotion_named(name) or name.strip().lower() for name in names] for names in (labels, ours)
    )
    if len(set(theirs)) != len(theirs) or set(theirs) != set(wanted):
        return None
    return tuple(theirs.index(name) for name in wanted)


def read_config(weights_file: Path) -> dict[str, object]:
    """Read the ``config.json`` beside a ViT of Hugging Face; empty where there is none.

    It tells ``num_attention_heads`` and ``id2label``, which the weights do not. Raises
    ArtifactError for one that cannot be read, and for an activation that timm's ViT does not have.
    """
    path = weights_file.with_name(_CONFIG)
    config = _read_settings(path)
    if (activation := config.get("hidden_act", "gelu")) != "gelu":
        raise ArtifactError(
            f"{path} says hidden_act {activation!r:.40}, and the networks here have gelu; these "
            "weights would answer otherwise"
        )
    return config


def read_timms_config(weights_file: Path) -> dict[str, object]:
    """Read the ``config.json`` that timm writes beside weights for the hub, as one flat table.

    Empty where there is none, and for one that is not timm's, which names an ``architecture``.
    Raises ArtifactError for one that cannot be read.
    """
    config = _read_settings(weights_file.with_name(_CONFIG))
    if "architecture" not in config:
        return {}
    inner = config.get("pretrained_cfg")
    return {**inner, **config} if isinstance(inner, dict) else config


def network_beside(source: str, model: str, ours: InputSpec) -> tuple[InputSpec, dict[str, int]]:
    """Give ``ours`` the size and colours of weights of ``model``, and timm's arguments for it.

    timm's config tells both of its ``architecture``; without one the input stays as it is, without
    arguments. Other colours come with a plain mean and std. Raises ArtifactError for a config that
    cannot be used.
    """
    weights = _in_folder(source)
    config = read_timms_config(weights)
    if config.get("architecture") != model.partition(".")[0]:
        return ours, {}
    given = config.get("model_args")
    arguments = {
        name: int(value)
        for name, told in (given.items() if isinstance(given, dict) else ())
        if isinstance(value := _one(told), int) and name not in NOT_SETTINGS
    }
    if (size := config.get("input_size")) is None:
        return ours, arguments
    try:
        channels, height, width = map(int, size)  # type: ignore[call-overload]
        if config.get("fixed_input_size") and "img_size" in arguments:
            height = width = arguments["img_size"]  # older exports keep the size of their source
        if channels == ours.channels:
            return replace(ours, height=height, width=width), arguments
        color = {count: color for color, count in CHANNELS.items()}[channels]
        plain = ((0.5,) * channels,) * 2
        return InputSpec(height, width, color, *plain, ours.interpolation), arguments
    except (TypeError, ValueError, KeyError) as problem:
        raise ArtifactError(
            f"{weights.with_name(_CONFIG)} has no usable input_size ({size!r:.60}); correct it or "
            "move it away"
        ) from problem


def _one(told: object) -> object:
    """A side of a square; anything else as it is."""
    if isinstance(told, list) and told and told.count(told[0]) == len(told):
        return told[0]
    return told


def require_same_normalisation(weights: Path, ours: InputSpec) -> None:
    """Raise ArtifactError where the weights were trained with another mean or std than ours."""
    found = _normalisation_beside(weights)
    if found is None or _fits(found[1], ours):
        return
    path, told = found
    theirs, here = (
        " and std ".join(", ".join(f"{value:.4g}" for value in values) for values in pair)
        for pair in (told, (ours.mean, ours.std))
    )
    raise ArtifactError(
        f"{path} says mean {theirs}, and the model is set up with mean {here}; "
        "give a recipe whose [input] has the mean and std of these weights"
    )


def with_normalisation_beside(source: str, ours: InputSpec) -> InputSpec:
    """Give an input the mean and std that weights were trained with, where they are known.

    timm tells them of its own weights, and a file beside them of others. A gray input takes only
    values that are the same for all colours.
    """
    name = source.removeprefix("timm:")
    told: Normalisation | None = None
    if Path(source).expanduser().exists():
        found = _normalisation_beside(_in_folder(source))
        told = None if found is None else found[1]
    elif timm.is_model(name) and (name in timm.list_pretrained() or "." not in name):
        published = timm.get_pretrained_cfg(name)
        told = None if published is None else (published.mean, published.std)
    if told is None or _fits(told, ours):
        return ours
    if all(len(set(values)) == 1 for values in told):
        told = (told[0][:1] * ours.channels, told[1][:1] * ours.channels)
    return replace(ours, mean=told[0], std=told[1]) if len(told[0]) == ours.channels else ours


def _in_folder(source: str) -> Path:
    """A path in the folder of the weights, for its neighbours."""
    path = Path(source).expanduser()
    return path / _CONFIG if path.is_dir() else path


def _read_settings(path: Path) -> dict[str, object]:
    """Read a JSON file of settings; empty where there is none."""
    if not path.is_file():
        return {}
    text = read_file(path, "file of a model's settings", _MAX_BYTES, ArtifactError)
    config = parse_json(text, str(path))
    return config if isinstance(config, dict) else {}


def _normalisation_beside(weights: Path) -> tuple[Path, Normalisation] | None:
    """The file that tells a normalisation, Hugging Face's or else timm's, and what it tells."""
    path = weights.with_name(_PREPROCESSOR)
    told = _read_settings(path)
    mean, std = told.get("image_mean"), told.get("image_std")
    if told.get("do_normalize", True) is False:
        mean, std = 0.0, 1.0
    if mean is None or std is None:
        path, told = weights.with_name(_CONFIG), read_timms_config(weights)
        mean, std = told.get("mean"), told.get("std")
    if mean is None or std is None:
        return None
    try:
        # (pixel * scale - mean) / std, with pixels from 0 to 255
        scale = told.get("rescale_factor", 1 / 255) if told.get("do_rescale", True) else 1.0
        means, stds = (
            np.atleast_1d(np.array(values, np.float64)) / (255 * float(scale))  # type: ignore[arg-type]
            for values in (mean, std)
        )
        if not (means.shape == stds.shape and means.shape in {(1,), (3,)} and (stds > 0).all()):
            raise ValueError(f"mean {mean!r:.60} and std {std!r:.60}")
        return path, (tuple(means.tolist()), tuple(stds.tolist()))
    except (TypeError, ValueError, ZeroDivisionError) as problem:
        raise ArtifactError(
            f"{path} has no usable normalisation ({problem}); correct it or move it away"
        ) from problem


def _fits(told: Normalisation, ours: InputSpec) -> bool:
    pairs = zip(told, (ours.mean, ours.std), strict=True)
    return all(np.allclose(theirs, own, atol=_CLOSE) for theirs, own in pairs)
