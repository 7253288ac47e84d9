"""Recipe: every setting of a training, in one frozen record that goes into the checkpoint."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from fer_edge.artifacts.record import encode, json_digest
from fer_edge.artifacts.spec import InputSpec, NetworkSpec

OPTIMIZERS = ("adam", "adamw", "lion", "nadamw", "rmsprop", "sgd")
"""Those of timm whose saved tensors are their whole state, so that a training resumes exactly."""

_SCHEDULES = ("cosine", "plateau")
_ARITHMETICS = ("auto", "fp32", "bf16")
_MANY, _TINY = 1e9, 1e-9
_MEANING, _BOUNDS, _CHOICES = "meaning", "bounds", "choices"


def _number(default: float | None, low: float, high: float, meaning: str) -> Any:
    """A field for a number from ``low`` to ``high``."""
    return field(default=default, metadata={_MEANING: meaning, _BOUNDS: (low, high)})


def _choice(default: str, known: tuple[str, ...], meaning: str) -> Any:
    """A field for one of the ``known`` words."""
    return field(default=default, metadata={_MEANING: meaning, _CHOICES: known})


def _check(settings: Augmentation | Recipe) -> None:
    for one in fields(settings):
        value = getattr(settings, one.name)
        if _BOUNDS in one.metadata and value is not None:
            low, high = one.metadata[_BOUNDS]
            if not low <= value <= high:
                raise ValueError(f"{one.name} should be from {low:g} to {high:g}, not {value}")
        if value not in (known := one.metadata.get(_CHOICES, (value,))):
            raise ValueError(f"{one.name} should be one of {', '.join(known)}, not {value!r}")


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a training crop, each drawn per picture."""

    flip: float = _number(0.5, 0, 1, "share of the pictures that are mirrored")
    rotation: float = _number(12.0, 0, 180, "at most so many degrees either way")
    shift: float = _number(0.10, 0, 1, "at most so large a share of the side")
    # a scale of 1 would shrink a face to nothing
    scale: float = _number(0.15, 0, 0.9, "the largest relative change of size")
    brightness: float = _number(0.2, 0, 1, "the largest change, as a share of white")
    contrast: float = _number(0.2, 0, 1, "the largest relative change")
    erasing: float = _number(0.25, 0, 1, "share of the pictures in which a rectangle is covered")
    erasing_area: float = _number(0.15, 0, 1, "the largest share of the picture that it covers")

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True)
class Recipe:
    """What to train and how; ``MEANINGS`` explains the settings, as ``--show-recipe`` does.

    ``model`` is a plain name (``is_plain``), after which trainings and their files are called.
    Parts that are ``frozen`` are named as torch names submodules; no gradient is computed for
    them, which saves time when they come first. The learning rate of ``cosine`` falls to a
    hundredth after a linear warm-up. That of ``plateau`` falls to a tenth whenever
    ``plateau_patience`` evaluations in a row brought no smaller loss on ``public-test``. Teachers
    see the same augmented pictures as the student. The averaged weights are evaluated and kept, in
    fp32, after the weights of ``--init`` were mixed in and their batch norms were measured anew.
    """

    model: str
    network: NetworkSpec
    input: InputSpec
    augmentation: Augmentation = Augmentation()
    frozen: tuple[str, ...] = field(
        default=(), metadata={_MEANING: "parts of the network that keep the weights of --init"}
    )
    epochs: int = _number(60, 1, _MANY, "how often every picture is seen")
    batch_size: int = _number(128, 1, _MANY, "pictures per step, over all processes together")
    optimizer: str = _choice("adamw", OPTIMIZERS, f"one of {', '.join(OPTIMIZERS)}")
    learning_rate: float = _number(3e-3, _TINY, 100, "the highest, after the warm-up")
    weight_decay: float = _number(0.05, 0, 100, "of weights alone; biases and norms do not decay")
    schedule: str = _choice(
        "cosine", _SCHEDULES, f"{' or '.join(_SCHEDULES)}: how the learning rate falls"
    )
    warmup_epochs: int = _number(3, 0, _MANY, "over these the learning rate rises from 0")
    plateau_patience: int = _number(
        2, 1, _MANY, "evaluations without a smaller loss before a plateau lowers the rate"
    )
    early_stopping: int = _number(
        0, 0, _MANY, "stop after so many evaluations without a smaller loss; 0 is never"
    )
    gradient_clip: float | None = _number(None, _TINY, _MANY, "the largest norm of a gradient")
    label_smoothing: float = _number(
        0.1, 0, 0.99, "share of the target that is spread over all classes"
    )
    logit_adjustment: float = _number(
        0.0, 0, 10, "strength with which rare classes are favoured (Menon et al., 2021)"
    )
    votes: float = _number(0.5, 0, 1, "share of FER+'s votes in the target, if --votes is given")
    distillation: float = _number(0.7, 0, 1, "share of the teachers in the loss, if there are any")
    distillation_temperature: float = _number(
        2.0, _TINY, 100, "softens what teachers and student say (Hinton et al., 2015)"
    )
    mixup: float = _number(
        0.3, 0, 1, "share of the batches whose pictures are blended in pairs (Zhang et al., 2018)"
    )
    mixup_alpha: float = _number(
        0.4, _TINY, 100, "of the Beta distribution that the blends are drawn from"
    )
    dropout: float = _number(0.2, 0, 0.99, "share of the classifier's inputs that are left out")
    drop_path: float = _number(
        0.0, 0, 0.99, "share of residual branches that are left out, in networks that have them"
    )
    patch_dropout: float = _number(
        0.0, 0, 0.9, "share of a ViT's tokens that are left out, which saves time"
    )
    ema: float = _number(
        0.998, 0, 0.999999, "decay per step of the averaged weights, which are those that are kept"
    )
    initial_share: float = _number(
        0.0,
        0,
        0.99,
        "share of the weights of --init in those that are kept (Wortsman et al., 2022)",
    )
    batch_norm_crops: int = _number(
        4096, 1, _MANY, "training crops on which batch norms are measured before an evaluation"
    )
    evaluate_every: int = _number(2, 1, _MANY, "epochs between two evaluations on public-test")
    arithmetic: str = _choice(
        "auto", _ARITHMETICS, f"{', '.join(_ARITHMETICS)}; auto is bf16 where that is faster"
    )
    seed: int = _number(0, 0, 2**32 - 1, "of everything that is random")

    def __post_init__(self) -> None:
        require_plain("model", self.model, LONGEST_MODEL)
        _check(self)

    @property
    def digest(self) -> str:
        """sha256 over all settings."""
        return json_digest(encode(self))


LONGEST = 128
"""Characters; the file system's 255 leave room for what is written before and after them."""

LONGEST_MODEL = 96
"""A training is named after its model, and more."""

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def is_plain(name: str, longest: int = LONGEST) -> bool:
    """Tell whether a name is a letter or digit, followed by those, dots, hyphens or underscores."""
    return len(name) <= longest and _PLAIN.fullmatch(name) is not None


def require_plain(what: str, name: str, longest: int = LONGEST) -> None:
    """Raise ValueError for a name that is not plain; ``what`` tells what is named."""
    if not is_plain(name, longest):
        raise ValueError(
            f"{what} should be at most {longest} letters, digits, dots, hyphens and underscores, "
            f"the first a letter or digit, not {name!r:.80}"
        )


MEANINGS = {
    "model": "the preset; the training and its files are named after it",
    **{one.name: one.metadata[_MEANING] for one in fields(Recipe) if one.metadata},
    "network.architecture": "a name of timm, or one of ours",
    "network.stem_stride": "of the first convolution, in place of the architecture's own",
    "network.batch_norm_epsilon": "in place of the architecture's own",
    "network.activation": "in place of the architecture's own: relu, relu6, gelu, silu",
    "network.arguments": "settings of the architecture, such as width or depth",
    "input.height": "of the picture that the network sees",
    "input.width": "likewise",
    "input.color": "gray or rgb",
    "input.mean": "subtracted from pixels between 0 and 1, one per channel",
    "input.std": "what they are then divided by",
    "input.interpolation": "area or linear, for pictures of another size",
    "input.gray_coefficients": "weights of red, green and blue in a gray picture",
    "input.crop_margin": "how far a face's box is enlarged, as a share of its longer side",
    "input.crop_square": "whether a box is made square",
    **{f"augmentation.{one.name}": one.metadata[_MEANING] for one in fields(Augmentation)},
}
"""What each setting means, by its name in a recipe file."""


def written_out(recipe: Recipe) -> str:
    """Write every setting of a recipe with its meaning, as a recipe file."""
    return "\n".join(_lines(encode(recipe), "")) + "\n"


def _lines(settings: Mapping[str, Any], table: str) -> Iterator[str]:
    nested = {}
    for name, value in settings.items():
        full = f"{table}.{name}" if table else name
        if isinstance(value, Mapping) and full not in MEANINGS:
            nested[full] = value
        elif value is None:
            yield f"# {name} is not set: {MEANINGS[full]}"
        else:
            yield f"{f'{name} = {_value(value)}':<34} # {MEANINGS[full]}"
    for name, inner in nested.items():
        yield from ("", f"[{name}]", *_lines(inner, name))


def _value(value: Any) -> str:
    """Write a value as TOML has it; numbers and text are as in JSON."""
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{k} = {_value(v)}' for k, v in value.items())} }}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value)
