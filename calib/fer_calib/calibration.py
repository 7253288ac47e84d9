"""Calibration sets: class-balanced crops of the training split, with their hashes."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_calib.crops import Crops
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.emotion import LABELS
from fer_edge.errors import ConfigurationError, DataError
from fer_edge.evaluation import fer2013
from fer_edge.evaluation.fer2013 import Data, LabelledCrops
from fer_edge.evaluation.unpacking import require_bounded
from fer_edge.images.pixels import MIN_SIDE
from fer_edge.images.preprocess import preprocess_all
from fer_edge.system.files import atomic_path
from fer_edge.system.read_file import refuse_git_lfs

MAX_UNPACKED = 1 << 30
"""A file may unpack to this many bytes, which is enough for 400,000 crops."""

_ARRAYS = ("images", "labels", "names", "sha256")
_GRAY, _COLOUR = 3, 4
_TEST_PREFIXES = ("PublicTest_", "PrivateTest_")


@dataclass(frozen=True, eq=False)
class CalibrationSet:
    """Crops to calibrate on, with their labels and where each came from.

    ``note`` says what could not be checked when they were drawn; None if everything was. Raises
    DataError if they are not pictures, or are too small.
    """

    crops: LabelledCrops
    note: str | None = None

    def __post_init__(self) -> None:
        images, count = self.crops.images, len(self.crops)
        is_colour = images.ndim == _COLOUR and images.shape[3] == 3  # noqa: PLR2004 - B, G, R
        fits = images.dtype == np.uint8 and (images.ndim == _GRAY or is_colour)
        if not fits or len(images) != count or min(images.shape[1:3]) < MIN_SIDE:
            raise DataError(
                f"expected calibration crops as uint8 ({count}, H, W) or ({count}, H, W, 3), not "
                f"{images.dtype} {images.shape}; draw them with fer-calib"
            )

    @property
    def sha256(self) -> str:
        """Hash of all labels and pixels, independent of their order."""
        return self.crops.sha256

    def check(self, data: Data | None = None) -> None:
        """Raise DataError, with the reason, for a set that INT8 must not be calibrated on.

        A set is refused if it is empty, too small, of a single class, or holds test pictures. Test
        pictures are recognised by FER2013's file names and, if ``data`` is given, by their pixels.
        """
        count = len(self.crops)
        classes = self.crops.classes
        if count < len(classes):
            raise DataError(
                f"{count} crops are too few to calibrate on: at least {len(classes)} are needed, "
                "and 512 are usual; draw them with fer-calib"
            )
        if len(np.unique(self.crops.labels)) == 1:
            raise DataError(
                f"all {count} calibration crops are {classes[self.crops.labels[0]]}, and ranges of "
                "one class do not fit the others; draw a balanced set with fer-calib"
            )
        self._refuse_test_pictures(data)

    def for_model(self, spec: ModelSpec) -> Crops:
        """Convert the crops with the runtime's own preprocessing.

        Raises DataError as ``check`` does without ``data``, and for a set of other classes.
        """
        self.check()
        if self.crops.classes != spec.labels:
            raise DataError(
                f"the calibration set is of {', '.join(self.crops.classes)}, and the model of "
                f"{', '.join(spec.labels)}; draw a set from the model's data with fer-calib"
            )
        tensors = preprocess_all(self.crops.images, spec.input)
        return Crops(tensors, spec, self.crops.labels, f"{len(self.crops)} calibration crops")

    def _refuse_test_pictures(self, data: Data | None) -> None:
        named = [n for n in self.crops.names if Path(n).name.startswith(_TEST_PREFIXES)]
        if named:
            raise DataError(
                f"{len(named)} calibration crops are test pictures, such as {named[0]}; accuracy "
                "on pictures that the model was calibrated on means nothing. Move them out of the "
                "training half, and draw another set"
            )
        if data is None:
            return
        tests = fer2013.test_halves(data, self.crops)
        if not tests:
            return
        copies = fer2013.copies_of(self.crops.images, tests[0].images)
        if copies.any():
            first = self.crops.names[int(np.flatnonzero(copies)[0])]
            raise DataError(
                f"{int(copies.sum())} calibration crops are also in the test split of {data}, such "
                f"as {first}; draw another set with fer-calib, which leaves such copies out"
            )

    def save(self, path: Path) -> None:
        """Write an ``.npz`` with images, labels, names and one sha256 per image, without pickle."""
        hashes = [_digest(image) for image in self.crops.images]
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(
                stream,
                images=self.crops.images,
                labels=self.crops.labels,
                names=np.array(self.crops.names),
                sha256=np.array(hashes),
                classes=np.array(self.crops.classes),
                note=np.array(self.note or ""),
            )


def draw(
    data: Data,
    count: int,
    seed: int = 0,
    *,
    labels: Sequence[str] | None = None,
    exact: bool = True,
) -> CalibrationSet:
    """Draw ``count`` crops, equally many of each class; the first classes take the remainder.

    They come from the training split, without constant pictures and copies of test pictures. If
    there is no test half to compare with, the set's note says so. ``labels`` are the model's
    classes, if the data has to fit a model. With ``exact=False`` a small data set gives fewer
    crops. Raises DataError for a data set that cannot be used or lacks a class, and
    ConfigurationError for a negative ``seed`` or a ``count`` that is too small or too large.
    """
    if seed < 0:
        raise ConfigurationError(f"a seed should be 0 or more, not {seed}")
    train, left_out = fer2013.load_clean_train(data, labels=labels)
    classes = train.classes
    if count < len(classes):
        raise ConfigurationError(
            f"a calibration set needs a crop of each class, so at least {len(classes)}, not {count}"
        )
    have = train.counts()
    rarest = int(have.argmin())
    if have[rarest] == 0:
        raise DataError(f"{data} has no training picture of {classes[rarest]} that can be used")
    if not exact:
        count = min(count, int(have[rarest]) * len(classes))
    rng = np.random.default_rng(seed)
    chosen: list[npt.NDArray[np.int64]] = []
    for label, name in enumerate(classes):
        wanted = count // len(classes) + (label < count % len(classes))
        if have[label] < wanted:
            raise ConfigurationError(
                f"{count} crops need {wanted} of {name}, but the training split has "
                f"{have[label]}; ask for at most {have[rarest] * len(classes)} with --count"
            )
        members = np.flatnonzero(train.labels == label)
        chosen.append(np.sort(rng.permutation(members)[:wanted]))
    compared = "copies of a test picture" in left_out
    note = None if compared else "drawn without a test half to compare with"
    drawn = CalibrationSet(train.take(np.concatenate(chosen)), note)
    drawn.check()
    return drawn


def load(path: Path) -> CalibrationSet:
    """Read a calibration set and check each image's hash. Raises DataError."""
    if not os.path.isfile(path):  # Path.is_file raises where it may not look
        command = shlex.join(["fer-calib", "--data", "fer2013.zip", "--out", str(path)])
        raise DataError(f"there is no calibration set at {path}; make one: {command}")
    refuse_git_lfs(path, DataError)
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            require_bounded(archive.zip, MAX_UNPACKED)
            images, labels, names, hashes = (_array(archive, name) for name in _ARRAYS)
            classes, note = (
                _array(archive, name) if name in archive else np.array(default)
                for name, default in (("classes", LABELS), ("note", ""))
            )
        if any(array.shape != images.shape[:1] for array in (labels, names, hashes)):
            raise ValueError("it does not hold one label, name and hash for each of its images")
        named = tuple(map(str, classes.ravel()))
        ModelSpec.check_labels(named)
        if labels.dtype.kind not in "iu" or not np.isin(labels, range(len(named))).all():
            raise ValueError(f"it holds labels other than 0 to {len(named) - 1}")
        crops = LabelledCrops(images, labels.astype(np.int64), tuple(map(str, names)), named)
        found = CalibrationSet(crops, str(note) or None)
        if any(_digest(image) != digest for image, digest in zip(images, hashes, strict=True)):
            raise ValueError("it is damaged: an image does not have its hash")
    except Exception as problem:  # zipfile, zlib and numpy each fail in their own ways
        raise DataError(
            f"{path} is no usable calibration set of fer-calib ({problem}); run fer-calib again"
        ) from problem
    return found


def _array(archive: Mapping[str, object], name: str) -> npt.NDArray[Any]:
    """Read an array of an archive; numpy returns other kinds of members as bytes."""
    if not isinstance(member := archive[name], np.ndarray):
        raise ValueError(f"{name} is no array")
    return member


def _digest(image: npt.NDArray[np.uint8]) -> str:
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()
