"""What the files beside foreign weights tell: labels, heads, mean and std."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import timm

from fer_edge.artifacts.record import parse_json
from fer_edge.artifacts.spec import InputSpec
from fer_edge.errors import ArtifactError

__all__ = [
    "normalisation_beside",
    "read_config",
    "require_same_normalisation",
    "with_normalisation_beside",
]

_CLOSE = 2e-3
_RESCALE = 1 / 255
_FILE = "preprocessor_config.json"
_MAX_BYTES = 1 << 20


def read_config(weights_file: Path) -> dict[str, object]:
    """Read the ``config.json`` beside a ViT of Hugging Face; empty where there is none.

    It tells ``num_attention_heads`` and ``id2label``, which the weights do not. Raises
    ArtifactError for one that cannot be read, and for an activation that timm's ViT does not have.
    """
    path = weights_file.with_name("config.json")
    config = _read_settings(path)
    if (activation := config.get("hidden_act", "gelu")) != "gelu":
        raise ArtifactError(
            f"{path} says hidden_act {activation!r:.40}, and the networks here have gelu; these "
            "weights would answer otherwise"
        )
    return config


def _read_settings(path: Path) -> dict[str, object]:
    """Read a JSON file of settings; empty where there is none."""
    if not path.is_file():
        return {}
    if path.stat().st_size > _MAX_BYTES:
        raise ArtifactError(f"{path} is too large for the settings of a model; move it away")
    config = parse_json(path.read_bytes(), str(path))
    return config if isinstance(config, dict) else {}


def normalisation_beside(weights: Path) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and std of pixels from 0 to 1; None where no ``preprocessor_config.json`` tells them.

    Raises ArtifactError for one that cannot be read, or that scales pixels in another way.
    """
    path = weights.with_name(_FILE)
    told = _read_settings(path)
    if not told:
        return None
    scale = told.get("rescale_factor", _RESCALE) if told.get("do_rescale", True) else 1.0
    mean, std = told.get("image_mean"), told.get("image_std")
    if told.get("do_normalize", True) is False:
        mean, std = [0.0] * 3, [1.0] * 3
    if mean is None or std is None:
        return None
    try:
        factor = float(scale) / _RESCALE  # type: ignore[arg-type]
        means, stds = (np.atleast_1d(np.array(v, np.float64)) for v in (mean, std))
        if not (means.shape == stds.shape and means.ndim == 1 and (stds > 0).all()):
            raise ValueError(f"image_mean {mean!r:.60} and image_std {std!r:.60}")
        # (pixel * scale - mean) / std, with pixels from 0 to 1
        return tuple((means / factor).tolist()), tuple((stds / factor).tolist())
    except (TypeError, ValueError, ZeroDivisionError) as problem:
        raise ArtifactError(
            f"{path} has no usable normalisation ({problem}); correct it or move it away"
        ) from problem


def require_same_normalisation(weights: Path, ours: InputSpec) -> None:
    """Raise ArtifactError where the weights were trained with another mean or std than ours."""
    told = normalisation_beside(weights)
    if told is None or _fits(told, ours):
        return
    mean, std = (", ".join(f"{value:.4g}" for value in values) for values in told)
    raise ArtifactError(
        f"{weights.with_name(_FILE)} says mean {mean} and std {std}, and the model is set up with "
        f"mean {_listed(ours.mean)} and std {_listed(ours.std)}; give a recipe whose [input] has "
        "these weights' mean and std"
    )


def with_normalisation_beside(source: str, ours: InputSpec) -> InputSpec:
    """An input with the mean and std that weights were trained with, where that is known.

    Timm tells them of its own weights, and a file beside them of others. A gray input takes only
    what is the same for all colours; other than that it would not be what the weights were trained
    with.
    """
    folder, name = Path(source).expanduser(), source.removeprefix("timm:")
    if folder.exists():
        told = normalisation_beside(folder / _FILE if folder.is_dir() else folder)
    elif timm.is_model(name) and (name in timm.list_pretrained() or "." not in name):
        published = timm.get_pretrained_cfg(name)
        told = None if published is None else (published.mean, published.std)
    else:
        return ours
    if told is None or _fits(told, ours):
        return ours
    shared = all(len(set(values)) == 1 for values in told)
    if len(told[0]) != ours.channels and not shared:
        return ours
    mean, std = (values[:1] * ours.channels if shared else values for values in told)
    return replace(ours, mean=mean, std=std)


def _fits(told: tuple[tuple[float, ...], tuple[float, ...]], ours: InputSpec) -> bool:
    pairs = zip(told, (ours.mean, ours.std), strict=True)
    return all(
        (len(theirs) == len(own) or 1 in (len(theirs), len(own)))
        and bool(np.allclose(np.array(theirs), np.array(own), atol=_CLOSE))
        for theirs, own in pairs
    )


def _listed(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
