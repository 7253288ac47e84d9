"""What training sees, and what it selects on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fer_edge.artifacts.spec import InputSpec
from fer_edge.errors import DataError
from fer_edge.evaluation import fer2013
from fer_edge.evaluation.crops import SIDE, LabelledCrops
from fer_edge.evaluation.data_source import DataSource
from fer_edge.system.files import sha256_of
from fer_train.similarity import near_copies
from fer_train.targets import read_votes, soft_targets

_FEWEST = 2


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Crops to learn from and crops to select on.

    ``targets``, float32 ``(N, K)``, are the answers that the network should give to each training
    picture. ``copied_validation``, bool ``(N,)``, marks the validation pictures that are also in
    the data set's train split. ``left_out`` counts the training pictures that were dropped, by
    reason; ``sha256`` covers those that are left, their targets and the validation split. ``votes``
    names the table of FER+ votes in the targets, None where they are the labels alone. ``notes``
    say how the halves were found.
    """

    train: LabelledCrops
    targets: npt.NDArray[np.float32]
    validation: LabelledCrops
    copied_validation: npt.NDArray[np.bool_]
    left_out: dict[str, int]
    sha256: str
    votes: str | None
    notes: tuple[str, ...] = ()

    def check(self) -> None:
        """Refuse classes that cannot be learnt or selected on. Raises DataError."""
        selected = _counts(self.validation)
        for name, count in _counts(self.train).items():
            if count > 0 and not selected[name]:
                raise DataError(
                    f"the half to select on has no picture of {name}; add some, or leave the class "
                    "out with --classes"
                )
            if count < _FEWEST:
                raise DataError(
                    f"there are {count} pictures of {name} to learn from, and at least "
                    f"{_FEWEST} are needed; add some, or leave the class out with --classes"
                )

    def describe(self) -> list[str]:
        """Tell the pictures of each class and half, and how the halves were found, in lines."""
        selected = _counts(self.validation)
        told = [f"{name} {count} + {selected[name]}" for name, count in _counts(self.train).items()]
        return [f"pictures to learn from + to select on: {', '.join(told)}", *self.notes]


def _counts(crops: LabelledCrops) -> dict[str, int]:
    return dict(zip(crops.classes, crops.counts().tolist(), strict=True))


def prepare(
    data: str | Path | DataSource,
    votes: Path | None = None,
    share: float = 0.5,
    wanted: InputSpec | None = None,
    labels: tuple[str, ...] | None = None,
) -> TrainingData:
    """Read the clean training split and the half to select on.

    That half is ``public-test``, or what ``DataSource`` says. ``votes`` is a table of FER+ votes,
    which make up ``share`` of the targets. Pictures that are not FER2013's are brought to
    ``wanted``, the network's input; ``labels`` are a model's, where the data has to fit one.
    Raises DataError as ``fer2013.load`` and ``read_votes`` do.
    """
    source = DataSource.of(data)
    whole, validation = fer2013.load_halves(source, labels=labels, wanted=wanted)
    tests = fer2013.test_halves(source, whole)
    train, left_out = fer2013.clean(whole, validation, *tests)
    copied = fer2013.copies_of(validation.images, whole.images)
    told = None if votes is None else read_votes(votes, train.classes)
    targets = soft_targets(train, told, share)
    digest, voted = train.sha256_with(validation), None
    if votes is not None:
        voted = f"{votes.name}, sha256 {sha256_of(votes)[:12]}"
        digest = hashlib.sha256(digest.encode() + targets.tobytes()).hexdigest()
    found = dict.fromkeys((*whole.notes, *validation.notes))
    notes = (*found, *_notes(source, train, validation))
    if not tests:
        notes = (*notes, "there is no test half, so copies of its pictures were not looked for")
    if told is not None:
        notes = (*notes, f"{len(told.of(train))} of {len(train)} training pictures have votes")
    return TrainingData(train, targets, validation, copied, left_out, digest, voted, notes)


def _notes(source: DataSource, train: LabelledCrops, validation: LabelledCrops) -> Iterator[str]:
    if source.validation_share:
        by = f", by person ({source.subject})" if source.subject else ""
        share = f"{100 * source.validation_share:.3g}%"
        yield (
            f"selecting on {len(validation)} training pictures, {share} of each class, "
            f"drawn with the seed {source.seed}{by}"
        )
    elif source.validation is not None:
        yield f"selecting on {source.validation}"
    if train.images.shape[1:] != (SIDE, SIDE):  # FER2013's copies are counted exactly
        near = int(near_copies(validation.images, train.images).sum())
        yield f"{near} pictures to select on are nearly the same as a training picture"
