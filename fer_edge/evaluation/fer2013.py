"""FER2013 in every form that people have it.

Kaggle's folder or zip (``train/<class>/*.jpg`` and ``test/<class>/*.jpg``, where the names
``PublicTest_*`` and ``PrivateTest_*`` tell the two halves of ``test``), ``fer2013.csv``
(``emotion,pixels,Usage``) and ``icml_face_data.csv`` (the same columns in another order), each
also inside a zip or folder. Source of the data: Goodfellow et al., "Challenges in Representation
Learning", ICONIP 2013.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from fer_edge.emotion import LABELS, Emotion
from fer_edge.errors import DataError, EmptySplitError, InputError
from fer_edge.evaluation.unpacking import require_plain_methods
from fer_edge.images.header import check_complete, picture_size
from fer_edge.system.progress import track

__all__ = [
    "SIDE",
    "SPLITS",
    "LabelledCrops",
    "clean",
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
_TABLES = {"fer2013.csv", "icml_face_data.csv"}
_PICTURE_SUFFIXES = {".jpg", ".jpeg", ".png"}
_MAX_PICTURE_BYTES = 1 << 20
_MAX_LINE = 1 << 16
"""Characters; FER2013's longest row has 9,200 (2304 numbers of three digits with spaces)."""
_MAX_PICTURES = 150_000
"""Four times FER2013. One takes 5.8 kB while a split is put together, so all of them 0.9 GB."""
_PIXELS = {str(value): value for value in range(256)}
_EMOTIONS = {str(index): index for index in range(len(LABELS))}

_File: TypeAlias = tuple[str, Callable[[], IO[bytes]]]
_Row: TypeAlias = tuple[str, int, npt.NDArray[np.uint8]]


@dataclass(frozen=True, eq=False)
class LabelledCrops:
    """Pictures with their labels.

    ``images`` is uint8 ``(N, 48, 48)``, gray; ``labels`` int64 ``(N,)``, indices into
    ``classes``; ``names`` tells where each picture came from.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    names: tuple[str, ...]
    classes: tuple[str, ...] = LABELS

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> LabelledCrops:
        """Select by positions or by a boolean mask."""
        positions = np.arange(len(self))[index]
        names = tuple(self.names[i] for i in positions)
        return replace(
            self, images=self.images[positions], labels=self.labels[positions], names=names
        )

    @property
    def sha256(self) -> str:
        """Hash of labels and pixels, the same in whatever order or container they come."""
        return hashlib.sha256(b"".join(sorted(self._digests()))).hexdigest()

    def canonical_order(self) -> npt.NDArray[np.int64]:
        """Positions by the hash of label and pixels, int64 ``(N,)``: that which they have in any
        container.
        """
        digests = self._digests()
        return np.array(sorted(range(len(self)), key=digests.__getitem__), np.int64)

    def _digests(self) -> list[bytes]:
        return [
            hashlib.sha256(bytes([label]) + image.tobytes()).digest()
            for image, label in zip(self.images, self.labels, strict=True)
        ]


def load(path: str | Path, split: str) -> LabelledCrops:
    """Read one split, every picture decoded once.

    ``path`` is a folder, a zip or a CSV file; ``split`` one of ``SPLITS``. A picture of ``test``
    whose name tells no half belongs to none, and to ``test``. Raises DataError for a missing path
    or class folder, an unreadable picture, a wrong pixel count, an unknown ``Usage``, a table with
    a line or number of lines far beyond FER2013's and, as EmptySplitError, a split without
    pictures.
    """
    if split not in SPLITS:
        raise DataError(f"unknown split {split!r}; there are {', '.join(SPLITS)}")
    rows = list(_rows(Path(path), split))
    if not rows:
        raise EmptySplitError(_empty_message(path, split))
    names, labels, images = zip(*rows, strict=True)
    return LabelledCrops(np.stack(images), np.array(labels, np.int64), names)


def load_clean_train(path: str | Path) -> tuple[LabelledCrops, dict[str, int]]:
    """Read the part of ``train`` that may be learnt from or calibrated on, as ``clean`` leaves it.

    Raises DataError as ``load`` does, and where nothing is left.
    """
    train = load(path, "train")
    try:
        test = load(path, "test")
    except EmptySplitError:
        test = train.take(np.zeros(len(train), np.bool_))
    return clean(train, test)


def clean(train: LabelledCrops, test: LabelledCrops) -> tuple[LabelledCrops, dict[str, int]]:
    """Leave out pictures without any contrast and those that stand in ``test``, pixel by pixel.

    Returns what is left and how many were left out, by reason. Raises DataError where nothing is.
    """
    copied = copies_of(train.images, test.images)
    constant = np.ptp(train.images, axis=(1, 2)) == 0
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
    """Tell which of ``images`` (N, H, W) also stand, pixel by pixel, in ``others`` (M, H, W).

    Returns bool ``(N,)``.
    """
    known = {other.tobytes() for other in others}
    return np.array([image.tobytes() in known for image in images], np.bool_)


def _rows(path: Path, split: str) -> Iterable[_Row]:
    if os.path.isdir(path):  # Path.is_dir raises where it may not look
        return _rows_of_files(list(_files_in_folder(path)), split, path)
    if not os.path.isfile(path):
        raise DataError(f"no FER2013 at {path}: give Kaggle's zip or folder, or a CSV file")
    if path.suffix.lower() == ".csv":
        return _rows_of_csv(_open(path), split, str(path))
    if zipfile.is_zipfile(path):
        return _rows_of_zip(path, split)
    raise DataError(f"{path} is neither a folder, a zip nor a CSV file of FER2013")


def _rows_of_zip(path: Path, split: str) -> Iterator[_Row]:
    try:
        with zipfile.ZipFile(path) as archive:
            require_plain_methods(archive)
            yield from _rows_of_files(list(_files_in_zip(archive)), split, path)
    except (  # zipfile's own errors, and what it lets through of damaged names and contents
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        OSError,
        ValueError,
    ) as problem:
        raise DataError(f"{path} is a damaged zip: {problem}. Download it again.") from problem


def _files_in_folder(root: Path) -> Iterator[_File]:
    for file in sorted(root.rglob("*")):
        if file.is_file():
            yield file.relative_to(root).as_posix(), functools.partial(_open, file)


def _open(file: Path) -> IO[bytes]:
    try:
        return file.open("rb")
    except OSError as problem:
        raise DataError(
            f"cannot read {file}: {problem.strerror}; check who may read it"
        ) from problem


def _files_in_zip(archive: zipfile.ZipFile) -> Iterator[_File]:
    for info in sorted(archive.infolist(), key=lambda info: info.filename):
        if not info.filename:
            raise zipfile.BadZipFile("one of its files has no name")
        if not info.is_dir():
            yield info.filename, functools.partial(archive.open, info)


def _rows_of_files(files: list[_File], split: str, source: Path) -> Iterator[_Row]:
    for name, opened in files:
        if PurePosixPath(name).name.lower() in _TABLES:
            return _rows_of_csv(opened(), split, f"{source}:{name}")
    return _rows_of_pictures(files, split, source)


def _is_picture(path: PurePosixPath) -> bool:
    # systems leave hidden files about, and macOS its __MACOSX
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in _PICTURE_SUFFIXES and not hidden


def _rows_of_pictures(files: Iterable[_File], split: str, source: Path) -> Iterator[_Row]:
    half = "train" if split == "train" else "test"
    seen: set[int] = set()
    chosen: list[tuple[str, int, Callable[[], IO[bytes]]]] = []
    for name, opened in files:
        folders = PurePosixPath(name).parts[:-1]
        if not _is_picture(PurePosixPath(name)) or half not in folders[-2:-1]:
            continue
        label = _CLASS_OF.get(folders[-1].lower())
        if label is None:
            raise DataError(
                f"{source}: {'/'.join(folders)} is not a class of FER2013; "
                f"expected {', '.join(LABELS)}"
            )
        seen.add(label)
        if half == "train" or split in _splits_of_file(name):
            chosen.append((name, label, opened))
    if seen and (missing := [LABELS[i] for i in range(len(LABELS)) if i not in seen]):
        raise DataError(
            f"{source}: {half} lacks the class folders {', '.join(missing)}; is it complete?"
        )
    if len(chosen) > _MAX_PICTURES:
        raise DataError(
            f"{source} has {len(chosen):,} pictures of {split}, and {_MAX_PICTURES:,} are the most "
            "that are read at once; FER2013 has 35,887"
        )
    for name, label, opened in track(chosen, len(chosen), f"reading {split}"):
        with opened() as stream:
            data = stream.read(_MAX_PICTURE_BYTES + 1)
        yield name, label, _decode(name, data)


def _splits_of_file(name: str) -> tuple[str, ...]:
    splits = _USAGES.get(PurePosixPath(name).name.split("_")[0], ())
    return splits if "test" in splits else ("test",)


def _decode(name: str, data: bytes) -> npt.NDArray[np.uint8]:
    if len(data) > _MAX_PICTURE_BYTES:
        raise DataError(f"{name} holds far more than a {SIDE} x {SIDE} picture")
    image = None
    try:
        # the size before decoding: a small file may claim to be a huge picture
        width, height = picture_size(data, name)
        if (width, height) != (SIDE, SIDE):
            raise DataError(f"{name} has {width} x {height} pixels instead of {SIDE} x {SIDE}")
        check_complete(data, name)
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    except (InputError, cv2.error) as problem:
        raise DataError(f"{name} cannot be read as a picture: {problem}") from problem
    if image is None or image.shape != (SIDE, SIDE):
        raise DataError(f"{name} cannot be read as a picture; download the archive again")
    return np.asarray(image, np.uint8)


def _rows_of_csv(stream: IO[bytes], split: str, source: str) -> Iterator[_Row]:
    # icml_face_data.csv writes its header as "emotion, Usage, pixels"; spreadsheets add a mark
    with io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text:
        try:
            rows = _bounded_rows(text, source)
            header = [column.strip() for column in next(rows, [])]
            if missing := {"emotion", "pixels", "Usage"} - set(header):
                raise DataError(f"{source} lacks the columns {', '.join(sorted(missing))}")
            columns = [header.index(name) for name in ("emotion", "pixels", "Usage")]
            for number, row in enumerate(rows, start=2):
                if row and (parsed := _parse_row(row, columns, split, f"{source} line {number}")):
                    yield parsed
        except (csv.Error, UnicodeDecodeError) as problem:
            raise DataError(f"{source} is not a readable CSV file: {problem}") from problem


def _bounded_rows(text: IO[str], source: str) -> Iterator[list[str]]:
    """Read a row per line, for a quoted field over several lines would grow without a bound."""
    for number in range(1, _MAX_PICTURES + 2):  # and the header
        line = text.readline(_MAX_LINE + 1)
        if not line:
            return
        if len(line) > _MAX_LINE:
            raise DataError(
                f"{source} line {number} is longer than {_MAX_LINE:,} characters, and no row of "
                "FER2013 is; download it again"
            )
        yield next(csv.reader([line]), [])
    if text.readline(1):
        raise DataError(
            f"{source} has more than {_MAX_PICTURES:,} rows, the most that are read at once; "
            "FER2013 has 35,887"
        )


def _parse_row(row: list[str], columns: list[int], split: str, where: str) -> _Row | None:
    if len(row) <= max(columns):
        raise DataError(f"{where} has {len(row)} fields; expected emotion, pixels and Usage")
    emotion, pixels, usage = (row[column].strip() for column in columns)
    if usage not in _USAGES:
        raise DataError(f"{where} has the Usage {usage!r}; expected {', '.join(_USAGES)}")
    if split not in _USAGES[usage]:
        return None
    if emotion not in _EMOTIONS:
        raise DataError(f"{where} has the emotion {emotion!r}; expected 0 to {len(LABELS) - 1}")
    values = pixels.split()
    if len(values) != SIDE * SIDE:
        raise DataError(f"{where} has {len(values)} pixels instead of {SIDE * SIDE}")
    try:
        data = bytes(_PIXELS[value] for value in values)
    except KeyError as problem:
        raise DataError(f"{where} has the pixel {problem}, no number from 0 to 255") from problem
    return where, _EMOTIONS[emotion], np.frombuffer(data, np.uint8).reshape(SIDE, SIDE)


def _empty_message(path: str | Path, split: str) -> str:
    if split == "train":
        return f"{path} has no training pictures (train/<class>/*.jpg, or Usage Training)"
    if split == "test":
        return f"{path} has no test pictures (test/<class>/*.jpg, or Usage PublicTest, PrivateTest)"
    usage = next(usage for usage, splits in _USAGES.items() if split in splits)
    return (
        f"{path} has no pictures of the split {split}: none is named {usage}_* in test/<class>/ "
        f"and no row has the Usage {usage}"
    )
