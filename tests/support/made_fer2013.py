"""FER2013 of made-up pictures, in every form that people have it."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from fer_edge import LABELS
from fer_edge.evaluation.fer2013 import LabelledCrops

__all__ = [
    "FORMS",
    "USAGES",
    "Picture",
    "Rows",
    "as_fer2013_csv",
    "as_files",
    "as_icml_csv",
    "below",
    "first_pixels",
    "made",
    "noise",
    "png",
    "spelled",
    "table",
    "write_file",
    "write_folder",
    "write_zip",
]

USAGES = ("Training", "PublicTest", "PrivateTest")


class Picture(NamedTuple):
    """One made-up picture, and where FER2013 would have it."""

    usage: str
    label: int
    pixels: np.ndarray

    @property
    def member(self) -> str:
        half = "train" if self.usage == "Training" else "test"
        return f"{half}/{LABELS[self.label]}/{self.usage}_{int(self.pixels[0, 0])}.png"


def noise(seed: int) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, (48, 48), dtype=np.uint8)
    pixels[0, 0] = seed  # a name for the picture
    return pixels


def made(usages: Iterable[str] = USAGES) -> list[Picture]:
    """Two pictures of each class and usage, all different."""
    kinds = [(usage, label) for usage in usages for label in range(7)] * 2
    return [Picture(usage, label, noise(seed)) for seed, (usage, label) in enumerate(kinds)]


def colour(seed: int, height: int = 100, width: int = 100) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


Rows = Iterable[tuple[object, ...]]


def table(header: Iterable[str], rows: Rows) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    return text.getvalue().encode()


def spelled(pixels: np.ndarray) -> str:
    return " ".join(map(str, pixels.ravel()))


def as_fer2013_csv(pictures: list[Picture]) -> bytes:
    rows = [(p.label, spelled(p.pixels), p.usage) for p in pictures]
    return table(("emotion", "pixels", "Usage"), rows)


def as_icml_csv(pictures: list[Picture]) -> bytes:
    rows = [(p.label, p.usage, spelled(p.pixels)) for p in pictures]
    return table(("emotion", " Usage", " pixels"), rows)


def as_files(pictures: list[Picture]) -> dict[str, bytes]:
    return {p.member: png(p.pixels) for p in pictures}


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def write_folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return path


def write_file(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def below(folder: str, files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{folder}/{name}": data for name, data in files.items()}


FORMS: dict[str, Callable[[Path, list[Picture]], Path]] = {
    "zip": lambda path, ps: write_zip(path / "a.zip", as_files(ps)),
    "zip with a folder around": lambda path, ps: write_zip(
        path / "a.zip", below("fer2013", as_files(ps))
    ),
    "folder": lambda path, ps: write_folder(path / "a", as_files(ps)),
    "folder in a folder": lambda path, ps: write_folder(path / "a", below("data", as_files(ps))),
    "fer2013.csv": lambda path, ps: write_file(path / "fer2013.csv", as_fer2013_csv(ps)),
    "icml_face_data.csv": lambda path, ps: write_file(path / "x.CSV", as_icml_csv(ps)),
    "fer2013.csv in a zip": lambda path, ps: write_zip(
        path / "a.zip", {"fer2013/README": b"read", "fer2013/fer2013.csv": as_fer2013_csv(ps)}
    ),
    "icml_face_data.csv in a zip": lambda path, ps: write_zip(
        path / "a.zip", {"example_submission.csv": b"1", "icml_face_data.csv": as_icml_csv(ps)}
    ),
    "fer2013.csv in a folder": lambda path, ps: write_folder(
        path / "a", {"fer2013/fer2013.csv": as_fer2013_csv(ps), "fer2013/fer2013.bib": b"@"}
    ),
}


def first_pixels(crops: LabelledCrops) -> list[int]:
    return sorted(int(image[0, 0]) for image in crops.images)
