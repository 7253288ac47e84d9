"""Teachers' answers in a file, which ``fer-train teach`` writes and ``--taught`` learns from.

The file is safetensors. It holds every teacher's logits for each view of each picture, in half
precision, and in its metadata which pictures and teachers these were.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from fer_edge.artifacts.record import decode, encode, parse_json
from fer_edge.errors import ArtifactError, ConfigurationError
from fer_edge.evaluation.fer2013 import LabelledCrops
from fer_edge.system.files import sha256_of
from fer_edge.system.progress import progress
from fer_edge.system.read_file import refuse_git_lfs
from fer_edge.torch_model.checkpoint import write_tensors
from fer_train.augmentation import augment
from fer_train.data import TrainingData
from fer_train.evaluation import planes
from fer_train.parallel import Execution
from fer_train.randomness import draw_view
from fer_train.recipe import Augmentation
from fer_train.teachers import Ensemble, accuracy_of, mean_probabilities

_KEY, _LOGITS = "taught", "logits"


@dataclass(frozen=True)
class Teacher:
    """A teacher's checkpoint: its training run or its file's name, and the file's sha256."""

    name: str
    sha256: str


@dataclass(frozen=True)
class AnswersInfo:
    """Which pictures the teachers saw, and how.

    ``shape`` is height, width and channels of one picture; ``pictures_sha256`` covers all pictures
    in their order. ``views`` are drawn from ``seed`` and changed as ``augmentation`` says.
    ``teachers_accuracy`` is that of the teachers' mean on ``public-test``, a fraction of 1.
    """

    pictures: int
    shape: tuple[int, int, int]
    labels: tuple[str, ...]
    pictures_sha256: str
    seed: int
    views: int
    augmentation: Augmentation
    teachers: tuple[Teacher, ...]
    teachers_accuracy: float

    def __post_init__(self) -> None:
        if min(self.pictures, self.views, len(self.teachers)) < 1 or self.seed < 0:
            raise ValueError(
                "stored answers need at least one picture, view and teacher, and a seed from 0 on"
            )


@dataclass(frozen=True, eq=False)
class StoredAnswers:
    """Answers of the teachers: ``logits``, float16 ``(views, pictures, teachers, 7)``.

    It holds fewer views than ``info.views`` while the teachers are not finished.
    """

    info: AnswersInfo
    logits: torch.Tensor

    @property
    def views(self) -> int:
        """How many views are answered."""
        return len(self.logits)

    def to(self, device: torch.device) -> StoredAnswers:
        """Move the answers to a device."""
        return replace(self, logits=self.logits.to(device))

    def probabilities(self, view: int, rows: torch.Tensor, temperature: float) -> torch.Tensor:
        """Answers to pictures ``rows`` in a view, float32 ``(len(rows), 7)``."""
        return mean_probabilities(self.logits[view][rows].float(), temperature)

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all. Raises OSError, as for a full disk."""
        write_tensors(path, {_LOGITS: self.logits}, {_KEY: json.dumps(encode(self.info))})


def read_answers(path: Path) -> StoredAnswers:
    """Read a file of answers, finished or not. Raises ArtifactError for anything else."""
    if not path.is_file():
        raise ArtifactError(
            f"there are no teachers' answers at {path}; write them with fer-train teach --out"
        )
    refuse_git_lfs(path, ArtifactError)
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
            if _KEY not in metadata:
                raise ArtifactError(
                    f"{path} holds no teachers' answers; give a file of fer-train teach, and a "
                    "checkpoint with --teacher"
                )
            logits = stream.get_tensor(_LOGITS)
    except (SafetensorError, KeyError, ValueError, RuntimeError) as problem:
        raise ArtifactError(
            f"{path} is not a readable file of answers ({problem}); write it again with "
            "fer-train teach"
        ) from problem
    where = f"the description in {path}"
    info = decode(AnswersInfo, parse_json(metadata[_KEY], where), where, ArtifactError)
    shape = (info.pictures, len(info.teachers), len(info.labels))
    if tuple(logits.shape[1:]) != shape or logits.dtype != torch.float16:
        raise ArtifactError(
            f"{path} should hold float16 answers of the shape (views, {', '.join(map(str, shape))})"
            f", and holds {logits.dtype} {tuple(logits.shape)}; write it again with fer-train teach"
        )
    return StoredAnswers(info, logits)


def _require_same(path: Path, found: AnswersInfo, wanted: dict[str, Any]) -> None:
    """Refuse answers to other pictures; ``wanted`` has the fields that must agree."""
    here, there = _flat(wanted), _flat({name: getattr(found, name) for name in wanted})
    differing = [
        f"{name} {there[name]:.80} there and {told:.80} here"
        for name, told in here.items()
        if there[name] != told
    ]
    if differing:
        raise ConfigurationError(
            f"{path} answers other pictures: {'; '.join(differing)}. Give the same data and recipe "
            "as to fer-train teach, or write new answers to another file"
        )


def _flat(values: dict[str, Any]) -> dict[str, str]:
    """Tell each value in words, those of the augmentation one by one."""
    told: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Augmentation):
            told |= {f"{name}.{part}": str(each) for part, each in asdict(value).items()}
        elif name == "teachers":
            told[name] = " and ".join(f"{one.name} ({one.sha256[:12]})" for one in value)
        else:
            told[name] = str(value)
    return told


_BATCH = 256


def teach(
    data: TrainingData,
    teachers: Sequence[Path],
    out: Path,
    views: int,
    augmentation: Augmentation,
    *,
    seed: int = 0,
    how: Execution = Execution(),
) -> bool:
    """Write every teacher's logits for ``views`` views of each training picture to ``out``.

    The file is written after each view, whole or not at all. The same call continues it, and a call
    with more views adds to it. Returns whether all views are answered; if not, the deadline came
    first.

    Raises ArtifactError for a teacher or an ``out`` that cannot be read, ConfigurationError where
    ``out`` holds answers to other pictures or of other teachers, and OSError where it cannot be
    written; what was there before is kept.
    """
    ensemble = how.place(Ensemble(teachers, data.train.classes))
    wanted: dict[str, Any] = {
        **_shown(data.train),
        "seed": seed,
        "augmentation": augmentation,
        "teachers": tuple(map(Teacher, ensemble.names, map(sha256_of, teachers))),
    }
    if out.exists():
        taught = read_answers(out)
        _require_same(out, taught.info, wanted)
        accuracy, logits = taught.info.teachers_accuracy, taught.logits
        how.report(f"{out} has {len(logits)} of {views} views")
    else:
        accuracy = accuracy_of(ensemble, data.validation, how.device)
        shape = (0, len(data.train), len(teachers), len(data.train.classes))
        logits = torch.empty(shape, dtype=torch.float16)
    how.report(f"the teachers together: {accuracy:.2%} on public-test")
    info = AnswersInfo(**wanted, views=max(views, len(logits)), teachers_accuracy=accuracy)
    images = planes(torch.from_numpy(data.train.images))
    longest = 0.0
    while len(logits) < views:
        if not how.deadline.allows(longest):
            return False
        started = time.perf_counter()
        answers = _answers(ensemble, images, info, len(logits), how.device)
        logits = torch.cat([logits, answers[None]])
        StoredAnswers(info, logits).save(out)
        longest = max(longest, time.perf_counter() - started)
        how.report(f"view {len(logits)} of {views} is answered")
    return True


def _shown(crops: LabelledCrops) -> dict[str, Any]:
    """Describe the pictures that teachers or a student see, by fields of AnswersInfo."""
    images = np.ascontiguousarray(crops.images)
    height, width, channels = (*images.shape[1:], 1)[:3]
    return {
        "pictures": len(crops),
        "shape": (height, width, channels),
        "labels": tuple(crops.classes),
        "pictures_sha256": hashlib.sha256(images.data).hexdigest(),
    }


def answers_for(path: Path, crops: LabelledCrops, augmentation: Augmentation) -> StoredAnswers:
    """Read finished answers for a student of these pictures, changed in this way.

    Raises ArtifactError for a file that is missing or damaged, and ConfigurationError for one with
    answers to other pictures, or not to all views.
    """
    taught = read_answers(path)
    _require_same(path, taught.info, {**_shown(crops), "augmentation": augmentation})
    if taught.views < taught.info.views:
        raise ConfigurationError(
            f"{path} has {taught.views} of {taught.info.views} views; run the same fer-train "
            "teach again, which continues"
        )
    return taught


def _answers(
    ensemble: Ensemble, images: torch.Tensor, info: AnswersInfo, view: int, device: torch.device
) -> torch.Tensor:
    """Answer one view of all pictures: float16 ``(pictures, teachers, 7)`` on the CPU."""
    numbers = draw_view(info.seed, view, len(images))
    parts = []
    with progress(len(images), f"view {view + 1}/{info.views}, images") as bar:
        for batch, drawn in zip(images.split(_BATCH), numbers.split(_BATCH), strict=True):
            pixels = augment(batch.to(device), info.augmentation, drawn.to(device))
            parts.append(ensemble.logits(pixels).cpu())
            bar.advance(len(batch))
    limit = float(np.finfo(np.float16).max)
    return torch.cat(parts).clamp(-limit, limit).half()
