"""Recipe: every setting of a training, in one frozen record that goes into the checkpoint."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fer_edge.artifacts.record import encode
from fer_edge.artifacts.spec import InputSpec, NetworkSpec

__all__ = [
    "ARITHMETICS",
    "LONGEST",
    "LONGEST_MODEL",
    "MEANINGS",
    "OPTIMIZERS",
    "SCHEDULES",
    "Augmentation",
    "Recipe",
    "is_plain",
    "require_plain",
    "written_out",
]

OPTIMIZERS = ("adam", "adamw", "lion", "nadamw", "rmsprop", "sgd")
"""Those of timm whose saved tensors are their whole state, so that a training resumes exactly."""

SCHEDULES = ("cosine", "plateau")
ARITHMETICS = ("auto", "fp32", "bf16")

_MANY, _TINY = 1e9, 1e-9
_BOUNDS = {
    "epochs": (1, _MANY),
    "batch_size": (1, _MANY),
    "learning_rate": (_TINY, 100),
    "weight_decay": (0, 100),
    "warmup_epochs": (0, _MANY),
    "plateau_patience": (1, _MANY),
    "early_stopping": (0, _MANY),
    "gradient_clip": (_TINY, _MANY),
    "label_smoothing": (0, 0.99),
    "logit_adjustment": (0, 10),
    "votes": (0, 1),
    "distillation": (0, 1),
    "distillation_temperature": (_TINY, 100),
    "mixup": (0, 1),
    "mixup_alpha": (_TINY, 100),
    "dropout": (0, 0.99),
    "drop_path": (0, 0.99),
    "patch_dropout": (0, 0.9),
    "ema": (0, 0.999999),
    "batch_norm_crops": (1, _MANY),
    "evaluate_every": (1, _MANY),
    "seed": (0, 2**32 - 1),
}
_LARGEST_CHANGES = {"rotation": 180, "scale": 0.9}  # a scale of 1 would shrink a face to nothing


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

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            limit = _LARGEST_CHANGES.get(name, 1)
            if not 0 <= value <= limit:
                raise ValueError(f"{name} should be from 0 to {limit}, not {value}")


@dataclass(frozen=True)
class Recipe:
    """What to train and how; ``fer_train.recipe`` says what each setting means.

    ``model`` is a plain name (``fer_train.recipe``): trainings and their files are called after it.
    The learning rate of ``cosine`` falls to a hundredth after a linear warm-up; that of ``plateau``
    falls to a tenth whenever ``plateau_patience`` evaluations in a row brought no smaller loss on
    ``public-test``. Teachers see the same augmented pictures as the student. The averaged weights
    are evaluated and kept, in fp32, with batch norms that were measured anew.
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
    schedule: str = "cosine"
    warmup_epochs: int = 3
    plateau_patience: int = 2
    early_stopping: int = 0
    gradient_clip: float | None = None
    label_smoothing: float = 0.1
    logit_adjustment: float = 0.0
    votes: float = 0.5
    distillation: float = 0.7
    distillation_temperature: float = 2.0
    mixup: float = 0.3
    mixup_alpha: float = 0.4
    dropout: float = 0.2
    drop_path: float = 0.0
    patch_dropout: float = 0.0
    ema: float = 0.998
    batch_norm_crops: int = 4096
    evaluate_every: int = 2
    arithmetic: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        require_plain("model", self.model, LONGEST_MODEL)
        for name, (low, high) in _BOUNDS.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ValueError(f"{name} should be from {low:g} to {high:g}, not {value}")
        choices = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "arithmetic": ARITHMETICS}
        for name, known in choices.items():
            if (value := getattr(self, name)) not in known:
                raise ValueError(f"{name} should be one of {', '.join(known)}, not {value!r}")

    @property
    def digest(self) -> str:
        """sha256 over all settings."""
        return hashlib.sha256(json.dumps(encode(self), sort_keys=True).encode()).hexdigest()


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
    "epochs": "how often every picture is seen",
    "batch_size": "pictures per step, over all processes together",
    "optimizer": f"one of {', '.join(OPTIMIZERS)}",
    "learning_rate": "the highest, after the warm-up",
    "weight_decay": "of weights alone; biases and norms do not decay",
    "schedule": f"{' or '.join(SCHEDULES)}: how the learning rate falls",
    "warmup_epochs": "over these the learning rate rises from 0",
    "plateau_patience": "evaluations without a smaller loss before a plateau lowers the rate",
    "early_stopping": "stop after so many evaluations without a smaller loss; 0 is never",
    "gradient_clip": "the largest norm of a gradient",
    "label_smoothing": "share of the target that is spread over all classes",
    "logit_adjustment": "strength with which rare classes are favoured (Menon et al., 2021)",
    "votes": "share of FER+'s votes in the target, where --votes gives them",
    "distillation": "share of the teachers in the loss, where there are any",
    "distillation_temperature": "softens what teachers and student say (Hinton et al., 2015)",
    "mixup": "share of the batches whose pictures are blended in pairs (Zhang et al., 2018)",
    "mixup_alpha": "of the Beta distribution that the blends are drawn from",
    "dropout": "share of the classifier's inputs that are left out",
    "drop_path": "share of residual branches that are left out, in networks that have them",
    "patch_dropout": "share of a ViT's tokens that are left out, which saves time",
    "ema": "decay per step of the averaged weights, which are the ones that are kept",
    "batch_norm_crops": "training crops on which batch norms are measured before an evaluation",
    "evaluate_every": "epochs between two evaluations on public-test",
    "arithmetic": f"{', '.join(ARITHMETICS)}; auto is bf16 where that is faster",
    "seed": "of everything that is random",
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
    "augmentation.flip": "share of the pictures that are mirrored",
    "augmentation.rotation": "at most so many degrees either way",
    "augmentation.shift": "at most so large a share of the side",
    "augmentation.scale": "the largest relative change of size",
    "augmentation.brightness": "the largest change, as a share of white",
    "augmentation.contrast": "the largest relative change",
    "augmentation.erasing": "share of the pictures in which a rectangle is covered",
    "augmentation.erasing_area": "the largest share of the picture that it covers",
}


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
