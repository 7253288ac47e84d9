"""Labelled pictures in memory, which every split is read into, and the parts of them."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fer_edge.artifacts.spec import InputSpec
from fer_edge.emotion import LABELS
from fer_edge.errors import DataError
from fer_edge.evaluation.data_source import DataSource

SIDE = 48
"""Height and width of every FER2013 picture."""

MAX_IN_MEMORY = 4 << 30
"""Bytes of pictures that one array keeps in memory; a larger one is kept in a temporary file."""

_GRAY = 3
_SMALL = 4096
"""Bytes up to which a picture itself is looked up, and not its hash."""


@dataclass(frozen=True, eq=False)
class LabelledCrops:
    """Pictures with their labels.

    ``images`` is uint8, ``(N, H, W)`` gray or ``(N, H, W, 3)`` BGR; FER2013's are 48 x 48 gray.
    ``labels`` is int64 ``(N,)``, indices into ``classes``; ``names`` tells where each picture came
    from; ``notes`` says what a user should know of how they were found.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    names: tuple[str, ...]
    classes: tuple[str, ...] = LABELS
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> LabelledCrops:
        """Select by positions or by a boolean mask."""
        positions = np.arange(len(self))[index]
        names = tuple(self.names[i] for i in positions)
        images = _selected(self.images, positions)
        return replace(self, images=images, labels=self.labels[positions], names=names)

    def counts(self, part: npt.NDArray[np.bool_] | slice = slice(None)) -> npt.NDArray[np.intp]:
        """Pictures of each class, ``(K,)``: of all, or of a part by a boolean mask."""
        return np.bincount(self.labels[part], minlength=len(self.classes))

    @property
    def input(self) -> InputSpec:
        """An input of the same size and colour, to read other pictures in the same way."""
        height, width = self.images.shape[1:3]
        if self.images.ndim == _GRAY:
            return InputSpec(height, width)
        return InputSpec(height, width, "rgb", (0.5,) * 3, (0.5,) * 3)

    @property
    def sha256(self) -> str:
        """Hash of labels and pixels, the same in whatever order or container they come."""
        return self.sha256_with()

    def sha256_with(self, *others: LabelledCrops) -> str:
        """``sha256`` of these pictures and of others of the same classes together."""
        digests = sorted(digest for crops in (self, *others) for digest in crops._digests())
        return hashlib.sha256(self._kind() + b"".join(digests)).hexdigest()

    def canonical_order(self) -> npt.NDArray[np.int64]:
        """Positions by the hash of label and pixels, int64 ``(N,)``; no container changes them."""
        digests = self._digests()
        return np.array(sorted(range(len(self)), key=digests.__getitem__), np.int64)

    def _kind(self) -> bytes:
        """What else the hash covers; nothing for FER2013, whose hashes are older than this."""
        shape = self.images.shape[1:]
        if self.classes == LABELS and shape == (SIDE, SIDE):
            return b""
        return json.dumps([self.classes, shape]).encode()

    def _digests(self) -> list[bytes]:
        return [
            hashlib.sha256(bytes([label]) + image.tobytes()).digest()
            for image, label in zip(self.images, self.labels, strict=True)
        ]


def empty_pictures(shape: Sequence[int]) -> npt.NDArray[np.uint8]:
    """An uint8 array to fill; one beyond ``MAX_IN_MEMORY`` is backed by a temporary file.

    Raises DataError where the disk has no room for it.
    """
    size = int(np.prod(shape, dtype=object))
    if size <= MAX_IN_MEMORY:
        return np.empty(tuple(shape), np.uint8)
    try:
        with tempfile.TemporaryFile(prefix="fer-edge-") as file:  # its mapping outlives it
            file.truncate(size)
            return np.memmap(file, np.uint8, "r+", shape=tuple(shape))
    except (OSError, ValueError) as problem:
        raise DataError(
            f"{size / 1e9:.1f} GB of decoded pictures exceed the {MAX_IN_MEMORY >> 30} GB that are "
            f"kept in memory, and do not fit into a file in {tempfile.gettempdir()} either "
            f"({problem}); set TMPDIR to a larger disk, or read fewer pictures with --limit"
        ) from problem


def clean(train: LabelledCrops, *tests: LabelledCrops) -> tuple[LabelledCrops, dict[str, int]]:
    """Leave out pictures without any contrast, and those that stand in a test half.

    Copies are told pixel by pixel. Returns what is left and how many were left out, by reason.
    Raises DataError where nothing is left.
    """
    copied = np.zeros(len(train), np.bool_)
    for test in tests:
        copied |= copies_of(train.images, test.images)
    constant = np.ptp(train.images, axis=tuple(range(1, train.images.ndim))) == 0
    kept = train.take(~(copied | constant))
    if not len(kept):
        raise DataError("every training picture is constant or stands in the test split")
    left_out = {
        "copies of a test picture": int(copied.sum()),
        "constant": int((constant & ~copied).sum()),
    }
    return kept, left_out


def copies_of(
    images: npt.NDArray[np.uint8], others: npt.NDArray[np.uint8]
) -> npt.NDArray[np.bool_]:
    """Tell which of ``images`` (N, …) also stand, pixel by pixel, in ``others`` (M, …).

    Returns bool ``(N,)``. Raises ValueError for pictures of two sizes, of which none would be a
    copy.
    """
    if len(images) and len(others) and images.shape[1:] != others.shape[1:]:
        raise ValueError(f"cannot compare pictures {images.shape[1:]} with {others.shape[1:]}")
    known = {_key(other) for other in others}
    return np.array([_key(image) in known for image in images], np.bool_)


def _key(image: npt.NDArray[np.uint8]) -> bytes:
    pixels = image.tobytes()
    return pixels if len(pixels) <= _SMALL else hashlib.sha256(pixels).digest()


def _selected(
    images: npt.NDArray[np.uint8], positions: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint8]:
    shape = (len(positions), *images.shape[1:])
    if not isinstance(images, np.memmap) or len(positions) * images[:1].nbytes <= MAX_IN_MEMORY:
        return images[positions]
    if len(positions) == len(images) and bool((positions == np.arange(len(images))).all()):
        return images
    chosen = empty_pictures(shape)
    for place, position in enumerate(positions):
        chosen[place] = images[position]
    return chosen


_FEWEST = 2


def held_out(crops: LabelledCrops, source: DataSource) -> npt.NDArray[np.bool_]:
    """Which of the training pictures are to select on, bool ``(N,)``.

    The same pictures give the same draw in whatever order and container they come. Raises
    DataError for a class that is too small to stand in both halves, and for a picture whose name
    tells no person.
    """
    counts = crops.counts()
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
        more = have + crops.counts(theirs)
        if np.square(more - wanted).sum() < np.square(have - wanted).sum():
            have, held = more, held | theirs
    for half, said in ((held, "to select on"), (~held, "to learn from")):
        lacks = (wanted > 0) & (crops.counts(half) == 0)
        if lacking := [crops.classes[k] for k in np.flatnonzero(lacks)]:
            raise DataError(
                f"drawn by person, no picture of {', '.join(lacking)} is left {said}: "
                f"{len(drawn)} people are too few for this share; change --validation-share, or "
                "give --validation FOLDER"
            )
    return held
