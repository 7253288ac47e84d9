"""Recipe: every setting of a training, in one frozen record that goes into the checkpoint."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from fer_edge.artifacts.record import encode
from fer_edge.artifacts.spec import InputSpec, NetworkSpec
from fer_train.naming import LONGEST_MODEL, require_plain

__all__ = ["ARITHMETICS", "OPTIMIZERS", "SCHEDULES", "Augmentation", "Recipe"]

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
    """What to train and how; ``fer_train.meanings`` says what each setting means.

    ``model`` is a plain name (``fer_train.naming``): trainings and their files are called after it.
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
