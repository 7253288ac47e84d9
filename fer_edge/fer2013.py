"""FER2013 in every form that people have it.

Kaggle's folder or zip (``train/<class>/*.jpg`` and ``test/<class>/*.jpg``, where the names
``PublicTest_*`` and ``PrivateTest_*`` tell the two halves of ``test``), ``fer2013.csv``
(``emotion,pixels,Usage``) and ``icml_face_data.csv`` (the same columns in another order), each
also inside a zip. Source of the data: Goodfellow et al., "Challenges in Representation Learning",
ICONIP 2013.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from fer_edge.emotion import LABELS, Emotion
from fer_edge.errors import DataError

__all__ = [
    "SIDE",
    "SPLITS",
    "EmptySplitError",
    "LabelledCrops",
    "copies_of",
    "load",
    "load_clean_train",
]

SIDE = 48
"""Height and width of every FER2013 picture."""

SPLITS = ("train", "public-test", "private-test", "test")
"""``public-test`` and ``private-test`` are the halves of ``test``."""

_USAGES = {
    "Training": ("train",),
    "PublicTest": ("public-test", "test"),
    "PrivateTest": ("private-test", "test"),
}
_CLASS_NAMES = {
    Emotion.ANGRY: ("angry", "anger"),
    Emotion.DISGUST: ("disgust", "disgusted"),
    Emotion.FEAR: ("fear", "fearful", "afraid"),
    Emotion.HAPPY: ("happy", "happiness"),
    Emotion.SAD: ("sad", "sadness"),
    Emotion.SURPRISE: ("surprise", "surprised"),
    Emotion.NEUTRAL: ("neutral",),
}
_CLASS_OF = {name: emotion.class_index for emotion, names in _CLASS_NAMES.items() for name in names}
_PICTURE_SUFFIXES = {".jpg", ".jpeg", ".png"}
_MAX_PICTURE_BYTES = 1 << 20

_Picture: TypeAlias = tuple[str, Callable[[], bytes]]
_Row: TypeAlias = tuple[str, int, npt.NDArray[np.uint8]]


class EmptySplitError(DataError):
    """The data set can be read, and has no picture of the split that was asked for."""


@dataclass(frozen=True, eq=False)
class LabelledCrops:
    """Pictures with their labels.

    ``images`` is uint8 ``(N, 48, 48)``, gray; ``labels`` int64 ``(N,)``, indices into
    ``fer_edge.LABELS``; ``names`` tells where each picture came from.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> LabelledCrops:
        """Select by positions or by a boolean mask."""
        positions = np.arange(len(self))[index]
        names = tuple(self.names[i] for i in positions)
        return LabelledCrops(self.images[positions], self.labels[positions], names)

    @property
    def sha256(self) -> str:
        """Hash of labels and pixels, the same in whatever order or container they come."""
        digests = sorted(
            hashlib.sha256(bytes([label]) + image.tobytes()).digest()
            for image, label in zip(self.images, self.labels, strict=True)
        )
        return hashlib.sha256(b"".join(digests)).hexdigest()


def load(path: str | Path, split: str) -> LabelledCrops:
    """Read one split, every picture decoded once.

    ``path`` is a folder, a zip or a CSV file; ``split`` one of ``SPLITS``. Raises DataError for a
    missing path or class folder, an unreadable picture, a wrong pixel count, an unknown ``Usage``
    and, as EmptySplitError, a split without pictures.
    """
    if split not in SPLITS:
        raise DataError(f"unknown split {split!r}; there are {', '.join(SPLITS)}")
    rows = list(_rows(Path(path), split))
    if not rows:
        raise EmptySplitError(_empty_message(path, split))
    names, labels, images = zip(*rows, strict=True)
    return LabelledCrops(np.stack(images), np.array(labels, np.int64), names)


def load_clean_train(path: str | Path) -> tuple[LabelledCrops, dict[str, int]]:
    """Read the part of ``train`` that may be learnt from or calibrated on.

    Left out are pictures without any contrast and those that stand, pixel by pixel, in the test
    split, whichever halves of it are there. Returns what is left and how many were left out, by
    reason. Raises DataError as ``load`` does, and where nothing is left.
    """
    train = load(path, "train")
    try:
        copied = copies_of(train.images, load(path, "test").images)
    except EmptySplitError:
        copied = np.zeros(len(train), np.bool_)
    constant = np.ptp(train.images, axis=(1, 2)) == 0
    kept = train.take(~(copied | constant))
    if not len(kept):
        raise DataError(f"{path}: every training picture is constant or stands in the test split")
    left_out = {
        "copies of a test picture": int(copied.sum()),
        "constant": int((constant & ~copied).sum()),
    }
    return kept, left_out


def copies_of(
    images: npt.NDArray[np.uint8], others: npt.NDArray[np.uint8]
) -> npt.NDArray[np.bool_]:
    """Tell which of ``images`` (N, H, W) also stand, pixel by pixel, in ``others`` (M, H, W).

    Returns bool ``(N,)``.
    """
    known = {other.tobytes() for other in others}
    return np.array([image.tobytes() in known for image in images], np.bool_)


def _rows(path: Path, split: str) -> Iterable[_Row]:
    if path.is_dir():
        return _rows_of_pictures(_pictures_in_folder(path), split, path)
    if not path.is_file():
        raise DataError(f"no FER2013 at {path}: give Kaggle's zip or folder, or a CSV file")
    if path.suffix.lower() == ".csv":
        return _rows_of_csv(path.open("rb"), split, str(path))
    if zipfile.is_zipfile(path):
        return _rows_of_zip(path, split)
    raise DataError(f"{path} is neither a folder, a zip nor a CSV file of FER2013")


def _rows_of_zip(path: Path, split: str) -> Iterator[_Row]:
    try:
        with zipfile.ZipFile(path) as archive:
            tables = [name for name in archive.namelist() if name.lower().endswith(".csv")]
            tables = [name for name in tables if "fer2013" in name or "icml_face" in name]
            if tables:
                yield from _rows_of_csv(archive.open(tables[0]), split, f"{path}:{tables[0]}")
            else:
                yield from _rows_of_pictures(_pictures_in_zip(archive), split, path)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OSError) as problem:
        raise DataError(f"{path} is a damaged zip: {problem}. Download it again.") from problem


def _pictures_in_folder(root: Path) -> Iterator[_Picture]:
    for file in sorted(root.rglob("*")):
        if file.is_file():
            yield file.relative_to(root).as_posix(), file.read_bytes


def _pictures_in_zip(archive: zipfile.ZipFile) -> Iterator[_Picture]:
    for info in sorted(archive.infolist(), key=lambda info: info.filename):
        if info.file_size > _MAX_PICTURE_BYTES and _is_picture(info.filename):
            raise DataError(
                f"{info.filename} holds {info.file_size} bytes, far more than a 48 x 48 picture"
            )
        yield info.filename, functools.partial(archive.read, info)


def _is_picture(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in _PICTURE_SUFFIXES and "__MACOSX" not in name


def _rows_of_pictures(pictures: Iterable[_Picture], split: str, source: Path) -> Iterator[_Row]:
    half = "train" if split == "train" else "test"
    seen: set[int] = set()
    chosen: list[tuple[str, int, Callable[[], bytes]]] = []
    for name, read in pictures:
        folders = PurePosixPath(name).parts[:-1]
        if not _is_picture(name) or half not in folders[-2:-1]:
            continue
        label = _CLASS_OF.get(folders[-1].lower())
        if label is None:
            raise DataError(
                f"{source}: {'/'.join(folders)} is not a class of FER2013; "
                f"expected {', '.join(LABELS)}"
            )
        seen.add(label)
        if half == "train" or split in _splits_of_file(name):
            chosen.append((name, label, read))
    if seen and (missing := [LABELS[i] for i in range(len(LABELS)) if i not in seen]):
        raise DataError(
            f"{source}: {half} lacks the class folders {', '.join(missing)}; is it complete?"
        )
    for name, label, read in chosen:
        yield name, label, _decode(name, read())


def _splits_of_file(name: str) -> tuple[str, ...]:
    usage = PurePosixPath(name).name.split("_")[0]
    return _USAGES.get(usage, ("test",))


def _decode(name: str, data: bytes) -> npt.NDArray[np.uint8]:
    image = None
    if data:
        try:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
        except cv2.error:
            image = None
    if image is None:
        raise DataError(f"{name} cannot be read as a picture; download the archive again")
    if image.shape != (SIDE, SIDE):
        height, width = image.shape
        raise DataError(f"{name} has {width} x {height} pixels instead of {SIDE} x {SIDE}")
    return np.asarray(image, np.uint8)


def _rows_of_csv(stream: IO[bytes], split: str, source: str) -> Iterator[_Row]:
    # icml_face_data.csv writes its header as "emotion, Usage, pixels"
    with io.TextIOWrapper(stream, encoding="utf-8", newline="") as text:
        try:
            reader = csv.reader(text)
            header = [column.strip() for column in next(reader, [])]
            if missing := {"emotion", "pixels", "Usage"} - set(header):
                raise DataError(f"{source} lacks the columns {', '.join(sorted(missing))}")
            columns = [header.index(name) for name in ("emotion", "pixels", "Usage")]
            for number, row in enumerate(reader, start=2):
                if parsed := _parse_row(row, columns, split, f"{source} line {number}"):
                    yield parsed
        except (csv.Error, UnicodeDecodeError) as problem:
            raise DataError(f"{source} is not a readable CSV file: {problem}") from problem


def _parse_row(row: list[str], columns: list[int], split: str, where: str) -> _Row | None:
    if len(row) <= max(columns):
        raise DataError(f"{where} has {len(row)} fields; expected emotion, pixels and Usage")
    emotion, pixels, usage = (row[column].strip() for column in columns)
    if usage not in _USAGES:
        raise DataError(f"{where} has the Usage {usage!r}; expected {', '.join(_USAGES)}")
    if split not in _USAGES[usage]:
        return None
    if emotion not in {str(index) for index in range(len(LABELS))}:
        raise DataError(f"{where} has the emotion {emotion!r}; expected 0 to {len(LABELS) - 1}")
    values = pixels.split()
    if len(values) != SIDE * SIDE:
        raise DataError(f"{where} has {len(values)} pixels instead of {SIDE * SIDE}")
    try:
        image = np.array(values, np.uint8).reshape(SIDE, SIDE)
    except (ValueError, OverflowError) as problem:
        raise DataError(f"{where} has a pixel that is no number from 0 to 255") from problem
    return where, int(emotion), image


def _empty_message(path: str | Path, split: str) -> str:
    if split == "train":
        return f"{path} has no training pictures (train/<class>/*.jpg, or Usage Training)"
    usage = next(usage for usage, splits in _USAGES.items() if split in splits)
    return (
        f"{path} has no pictures of the split {split}: none is named {usage}_* in test/<class>/ "
        f"and no row has the Usage {usage}"
    )
