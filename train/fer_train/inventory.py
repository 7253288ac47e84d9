"""What a data set holds, before anything is trained on it."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from fer_edge.errors import DataError
from fer_edge.evaluation import fer2013
from fer_edge.evaluation.data_source import DataSource
from fer_edge.evaluation.decoding import picture_of
from fer_edge.evaluation.layout import ALL_FOR_TRAINING, Survey
from fer_edge.system.files import write_bytes
from fer_edge.system.progress import track
from fer_train.similarity import near_hashes, perceptual_hash

_TRAIN = "train"
_VALIDATION = "validation"
_COLUMNS, _CELL, _TEXT = 10, 72, 110

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Inventory:
    """What a data set holds.

    ``counts`` is by split and class; ``sizes`` and ``colours`` count pictures. ``unreadable`` lists
    the pictures that cannot be read, with the reason. ``copies`` counts the pictures of other
    splits that are in train with the same pixels, ``near_copies`` those that are nearly the same.
    """

    source: str
    counts: dict[str, dict[str, int]]
    sizes: dict[str, int]
    colours: dict[str, int]
    unreadable: tuple[str, ...]
    copies: int
    near_copies: int
    notes: tuple[str, ...]


@dataclass
class _Seen:
    """What is noted of the pictures that were looked at."""

    counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    sizes: Counter[str] = field(default_factory=Counter)
    colours: Counter[str] = field(default_factory=Counter)
    digests: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    hashes: dict[str, list[np.uint64]] = field(default_factory=lambda: defaultdict(list))
    shown: dict[str, list[Image]] = field(default_factory=lambda: defaultdict(list))
    unreadable: list[str] = field(default_factory=list)

    def add(self, image: Image, split: str, label: str) -> None:
        """Note a picture, BGR or gray."""
        height, width = image.shape[:2]
        gray = image.ndim == 2 or bool((image == image[..., :1]).all())  # noqa: PLR2004
        self.counts[split][label] += 1
        self.sizes[f"{width} x {height}"] += 1
        self.colours["gray" if gray else "colour"] += 1
        self.digests[split].append(hashlib.sha256(image.tobytes()).digest())
        self.hashes[split].append(perceptual_hash(image))
        if len(self.shown[label]) < _COLUMNS:
            bgr = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image  # noqa: PLR2004
            self.shown[label].append(np.asarray(cv2.resize(bgr, (_CELL - 4, _CELL - 4)), np.uint8))


def take_inventory(source: DataSource, sheet: Path | None = None) -> Inventory:
    """Look at every picture of a data set, and of the other one to select on if there is one.

    ``sheet`` is a PNG with some pictures of each class. Raises DataError for a data set whose
    files cannot be placed; pictures that cannot be read are listed instead.
    """
    seen = _Seen()
    notes = _look_at(source, seen, None)
    if source.validation is not None:
        notes += _look_at(source.for_validation, seen, _VALIDATION)
    if source.validation_share:
        by = f" by person ({source.subject})" if source.subject else ""
        notes.append(
            f"training selects on {100 * source.validation_share:.3g}% of train, drawn{by}"
        )
    if sheet is not None:
        write_bytes(sheet, _contact_sheet(seen.shown))
    others = [split for split in seen.digests if split != _TRAIN]
    known = set(seen.digests[_TRAIN])
    theirs = [value for split in others for value in seen.hashes[split]]
    near = near_hashes(theirs, seen.hashes[_TRAIN])
    return Inventory(
        source=str(source),
        counts={split: dict(counts) for split, counts in seen.counts.items()},
        sizes=dict(seen.sizes.most_common()),
        colours=dict(seen.colours),
        unreadable=tuple(seen.unreadable),
        copies=sum(digest in known for split in others for digest in seen.digests[split]),
        near_copies=int(near.sum()),
        notes=tuple(notes),
    )


def _look_at(source: DataSource, seen: _Seen, split: str | None) -> list[str]:
    with fer2013.entries_of(source) as found:
        names, notes = _names(found, source)
        own = split is None
        placed = found.entries if own else fer2013.chosen_of(found.entries, None, source)
        entries = fer2013.limited(placed, source)
        for entry in track(entries, len(entries), "looking at pictures"):
            if (label := names[entry.key]) is not None:
                try:
                    seen.add(picture_of(entry), split or entry.half, label)
                except DataError as problem:
                    seen.unreadable.append(str(problem))
        told = [note for note in found.notes if own or note != ALL_FOR_TRAINING]
        return [*told, *notes]


def _names(found: Survey, source: DataSource) -> tuple[dict[str, str | None], list[str]]:
    """The label of each name in the data set; the names themselves where labels are not known."""
    keys = sorted({entry.key for entry in found.entries})
    try:
        classes = fer2013.classes_of(found, source)
    except DataError as problem:
        return {key: key for key in keys}, [str(problem)]
    places = classes.index
    names = {k: None if (at := places[k]) is None else classes.labels[at] for k in keys}
    dropped = [key for key, name in names.items() if name is None]
    notes = [f"left out: {', '.join(dropped)}"] if dropped else []
    lacking = [name for name in classes.labels if name not in names.values()]
    if lacking:
        notes.append(f"there are no pictures of {', '.join(lacking)}")
    return names, notes


def _contact_sheet(shown: dict[str, list[Image]]) -> bytes:
    sheet = np.full((_CELL * max(len(shown), 1), _TEXT + _CELL * _COLUMNS, 3), 255, np.uint8)
    for row, (label, images) in enumerate(sorted(shown.items())):
        top = row * _CELL
        at = (4, top + _CELL // 2)
        cv2.putText(sheet, label, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
        for column, image in enumerate(images):
            left = _TEXT + column * _CELL
            sheet[top + 2 : top + _CELL - 2, left + 2 : left + _CELL - 2] = image
    return bytes(cv2.imencode(".png", sheet)[1].tobytes())
