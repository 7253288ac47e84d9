"""A share of the training pictures to select on, drawn by class and, if known, by person."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from fer_edge.errors import DataError
from fer_edge.evaluation.crops import LabelledCrops
from fer_edge.evaluation.data_source import DataSource

__all__ = ["held_out", "subjects_of"]

_FEWEST = 2


def held_out(crops: LabelledCrops, source: DataSource) -> npt.NDArray[np.bool_]:
    """Which of the training pictures are to select on, bool ``(N,)``.

    The same pictures give the same draw in whatever order and container they come. Raises
    DataError for a class that is too small to stand in both halves, and for a picture whose name
    tells no person.
    """
    counts = np.bincount(crops.labels, minlength=len(crops.classes))
    if alone := [crops.classes[k] for k in np.flatnonzero((counts > 0) & (counts < _FEWEST))]:
        raise DataError(
            f"{source} has a single training picture of {', '.join(alone)}, which cannot stand in "
            "both halves; add pictures, or leave the class out with --classes"
        )
    wanted = np.where(counts > 0, np.maximum(1, np.round(source.validation_share * counts)), 0)
    order = crops.canonical_order()
    rng = np.random.default_rng(source.seed)
    if source.subject is not None:
        return _by_subject(crops, source, order, wanted, rng)
    held = np.zeros(len(crops), np.bool_)
    for label, count in enumerate(wanted.astype(np.int64)):
        members = order[crops.labels[order] == label]
        held[rng.permutation(members)[:count]] = True
    return held


def subjects_of(names: tuple[str, ...], expression: str) -> list[str]:
    """The person in each picture's name: the first group of the expression, or all it matches."""
    pattern, found = re.compile(expression), []
    for name in names:
        match = pattern.search(name)
        if match is None:
            raise DataError(
                f"--subject {expression} does not match {name}; it has to find the person in "
                "every picture's name, such as (S[0-9]+)_"
            )
        found.append(match[1] if pattern.groups else match[0])
    return found


def _by_subject(
    crops: LabelledCrops,
    source: DataSource,
    order: npt.NDArray[np.int64],
    wanted: npt.NDArray[np.floating],
    rng: np.random.Generator,
) -> npt.NDArray[np.bool_]:
    """Add whole persons, in a drawn order, while that comes closer to the share of each class."""
    people = np.array(subjects_of(crops.names, source.subject or ""))
    drawn = rng.permutation(np.array(sorted(set(people[order]))))
    held, have = np.zeros(len(crops), np.bool_), np.zeros(len(crops.classes))
    for person in drawn:
        theirs = people == person
        more = have + np.bincount(crops.labels[theirs], minlength=len(crops.classes))
        if np.square(more - wanted).sum() < np.square(have - wanted).sum():
            have, held = more, held | theirs
    for half, said in ((held, "to select on"), (~held, "to learn from")):
        counts = np.bincount(crops.labels[half], minlength=len(crops.classes))
        if lacking := [crops.classes[k] for k in np.flatnonzero((wanted > 0) & (counts == 0))]:
            raise DataError(
                f"drawn by person, no picture of {', '.join(lacking)} is left {said}: "
                f"{len(drawn)} people are too few for this share; change --validation-share, or "
                "give --validation FOLDER"
            )
    return held
