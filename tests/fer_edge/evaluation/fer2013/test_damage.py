"""What an archive may lack, or have too much of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_fer2013 import (
    FORMS,
    USAGES,
    as_files,
    made,
    noise,
    png,
    write_file,
    write_folder,
    write_zip,
)

from fer_edge.errors import DataError, EmptySplitError
from fer_edge.evaluation.fer2013 import SPLITS, load


def test_a_split_is_one_of_four(tiny_fer2013: Path) -> None:
    with pytest.raises(DataError, match="'valid'; there are train, public-test, private-test"):
        load(tiny_fer2013, "valid")


@pytest.mark.parametrize("name", ["none.zip", "x" * 5000], ids=["not there", "too long"])
def test_a_path_that_is_not_there_or_too_long_is_told(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"no FER2013 at .*{name}: give Kaggle's zip or folder"):
        load(tmp_path / name, "train")


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a"])
def test_a_file_of_another_kind_is_told(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="neither a folder, a zip nor a CSV file"):
        load(write_file(tmp_path / name, b"something else"), "train")


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("form", FORMS)
def test_an_empty_split_is_told_apart_from_damage(form: str, split: str, tmp_path: Path) -> None:
    wanted = {"train": USAGES[:1], "public-test": USAGES[1:2], "private-test": USAGES[2:]}
    others = set(USAGES) - set(wanted.get(split, USAGES[1:]))
    path = FORMS[form](tmp_path, made(others))
    with pytest.raises(EmptySplitError, match=rf"has no pictures of {split} \(.* or Usage "):
        load(path, split)


@pytest.mark.parametrize("half", ["train", "test"])
def test_a_lacking_class_folder_is_named(half: str, tmp_path: Path) -> None:
    pictures = [p for p in made() if not p.member.startswith((f"{half}/fear", f"{half}/sad"))]
    path = write_zip(tmp_path / "a.zip", as_files(pictures))
    with pytest.raises(DataError, match=f"{half} lacks the class folders fear, sad"):
        load(path, half)


def test_an_unknown_class_folder_is_named(tmp_path: Path) -> None:
    files = {**as_files(made()), "train/bored/Training_1.png": png(noise(1))}
    path = write_zip(tmp_path / "a.zip", files)
    with pytest.raises(DataError, match="'bored', which is not a class of FER2013; expected angry"):
        load(path, "train")


def bomb() -> bytes:
    return png(np.zeros((4000, 4000), np.uint8))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cannot be read as a picture"),
        (b"GIF89a", "cannot be read as a picture"),
        (png(noise(1))[:-30], "cannot be read as a picture"),
        (cv2.imencode(".jpg", noise(1))[1].tobytes()[:-200], "cannot be read as a picture"),
        (png(np.zeros((48, 47), np.uint8)), "has 47 x 48 pixels instead of 48 x 48"),
        (bomb(), "has 4000 x 4000 pixels instead of 48 x 48"),
        (bytes((1 << 20) + 1), "far more than a 48 x 48 picture"),
    ],
    ids=["empty", "other", "truncated PNG", "truncated JPEG", "too narrow", "bomb", "too large"],
)
@pytest.mark.parametrize("write", [write_zip, write_folder])
def test_a_picture_that_cannot_be_used_is_named(
    write: Callable[..., Path], data: bytes, message: str, tmp_path: Path
) -> None:
    files = {**as_files(made()), "train/happy/Training_bad.png": data}
    with pytest.raises(DataError, match=message) as caught:
        load(write(tmp_path / "a", files), "train")
    assert "train/happy/Training_bad.png" in str(caught.value)


def test_a_bad_picture_of_another_split_does_not_matter(tmp_path: Path) -> None:
    files = {**as_files(made()), "test/happy/PublicTest_bad.png": b""}
    assert len(load(write_zip(tmp_path / "a.zip", files), "train")) == 14


def test_a_truncated_zip_is_refused(tiny_fer2013: Path, tmp_path: Path) -> None:
    data = tiny_fer2013.read_bytes()
    with pytest.raises(DataError):
        load(write_file(tmp_path / "a.zip", data[: len(data) // 2]), "train")


def test_a_zip_with_a_file_without_a_name_is_refused(tmp_path: Path) -> None:
    data = bytearray(write_zip(tmp_path / "a.zip", as_files(made())).read_bytes())
    data[data.rindex(b"train/")] = 0  # where zipfile takes a name to end
    with pytest.raises(DataError, match=r"b\.zip is a damaged zip: .* no name"):
        load(write_file(tmp_path / "b.zip", bytes(data)), "train")


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    data = bytearray(write_zip(tmp_path / "a.zip", as_files(made())).read_bytes())
    at = data.index(b"PK\1\2")
    while at >= 0:
        data[at + 8] |= 1  # the flag in each entry of the directory
        at = data.find(b"PK\1\2", at + 4)
    with pytest.raises(DataError, match="password"):
        load(write_file(tmp_path / "b.zip", bytes(data)), "train")
