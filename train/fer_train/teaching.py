"""``fer-train teach`` as a call: teachers answer many views of each picture, once for all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fer_edge.errors import ConfigurationError
from fer_edge.evaluation.fer2013 import LabelledCrops
from fer_edge.system.files import sha256_of
from fer_edge.system.progress import progress
from fer_edge.torch_model import checkpoint
from fer_train.augmentation import augment
from fer_train.data import TrainingData
from fer_train.deadline import Deadline
from fer_train.evaluation import planes
from fer_train.parallel import World
from fer_train.randomness import draw_view
from fer_train.recipe import Augmentation
from fer_train.stored_answers import (
    AnswersInfo,
    StoredAnswers,
    Teacher,
    pictures_sha256,
    read_answers,
    require_same,
)
from fer_train.teachers import Ensemble, accuracy_of

__all__ = ["answers_for", "shown", "teach"]

_BATCH = 256


def teach(
    data: TrainingData,
    teachers: Sequence[Path],
    out: Path,
    *,
    views: int,
    augmentation: Augmentation,
    seed: int = 0,
    device: torch.device | None = None,
    deadline: Deadline | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> bool:
    """Write every teacher's logits for ``views`` views of each training picture to ``out``.

    The file is written after each view, whole or not at all, and continued by the same call; a call
    with more views adds to it. Tells whether all views are answered, or ``deadline`` came before.

    Raises ArtifactError for a teacher or an ``out`` that cannot be read, ConfigurationError where
    ``out`` holds answers to other pictures or of other teachers, and OSError where it cannot be
    written; what was there before is kept.
    """
    device, deadline = device or World().device, deadline or Deadline()
    ensemble = Ensemble(teachers).to(memory_format=torch.channels_last).to(device)
    wanted: dict[str, Any] = {
        **shown(data.train),
        "seed": seed,
        "augmentation": augmentation,
        "teachers": tuple(_teacher(path) for path in teachers),
    }
    if out.exists():
        taught = read_answers(out)
        require_same(out, taught.info, wanted)
        accuracy, logits = taught.info.teachers_accuracy, taught.logits
        report(f"{out} has {len(logits)} of {views} views")
    else:
        accuracy = accuracy_of(ensemble, data.validation, device)
        shape = (0, len(data.train), len(teachers), len(data.train.classes))
        logits = torch.empty(shape, dtype=torch.float16)
    report(f"the teachers together: {accuracy:.2%} on public-test")
    info = AnswersInfo(**wanted, views=max(views, len(logits)), teachers_accuracy=accuracy)
    images = planes(torch.from_numpy(data.train.images))
    while len(logits) < views:
        if not deadline.allows(deadline.longest):
            return False
        with deadline.timed():
            answers = _answers(ensemble, images, info, len(logits), device)
            logits = torch.cat([logits, answers[None]])
            StoredAnswers(info, logits).save(out)
        report(f"view {len(logits)} of {views} is answered")
    return True


def shown(crops: LabelledCrops) -> dict[str, object]:
    """Describe the pictures that teachers or a student see, by the fields of a AnswersInfo."""
    height, width, channels = (*crops.images.shape[1:], 1)[:3]
    return {
        "pictures": len(crops),
        "shape": (height, width, channels),
        "labels": tuple(crops.classes),
        "pictures_sha256": pictures_sha256(crops.images),
    }


def answers_for(path: Path, crops: LabelledCrops, augmentation: Augmentation) -> StoredAnswers:
    """Read finished answers for a student of these pictures, changed in this way.

    Raises ArtifactError and ConfigurationError for a file that cannot serve; both are named.
    """
    taught = read_answers(path)
    require_same(path, taught.info, {**shown(crops), "augmentation": augmentation})
    if taught.views < taught.info.views:
        raise ConfigurationError(
            f"{path} has {taught.views} of {taught.info.views} views; run the same fer-train "
            "teach again, which continues"
        )
    return taught


def _teacher(path: Path) -> Teacher:
    known = checkpoint.read_spec(path).provenance.training_run
    return Teacher(known or path.name, sha256_of(path))


def _answers(
    ensemble: Ensemble, images: torch.Tensor, info: AnswersInfo, view: int, device: torch.device
) -> torch.Tensor:
    """Answer one view of all pictures: float16 ``(pictures, teachers, 7)`` on the CPU."""
    numbers = draw_view(info.seed, view, len(images)).numbers
    parts = []
    with progress(len(images), f"view {view + 1}/{info.views}, images") as bar:
        for batch, drawn in zip(images.split(_BATCH), numbers.split(_BATCH), strict=True):
            pixels = augment(batch.to(device), info.augmentation, drawn.to(device))
            parts.append(ensemble.logits(pixels).cpu())
            bar.advance(len(batch))
    limit = float(np.finfo(np.float16).max)
    return torch.cat(parts).clamp(-limit, limit).half()
