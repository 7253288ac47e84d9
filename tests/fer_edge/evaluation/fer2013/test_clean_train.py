"""The part that may be learnt from."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_fer2013 import FORMS, Picture, as_files, first_pixels, made, noise, write_folder

from fer_edge.errors import DataError
from fer_edge.evaluation.data_source import DataSource
from fer_edge.evaluation.fer2013 import load_clean_train


@pytest.mark.parametrize("half", ["PublicTest", "PrivateTest"])
def test_copies_of_either_test_half_are_not_trained_on(half: str, tmp_path: Path) -> None:
    pictures = made()
    copied = next(p for p in pictures if p.usage == half)
    pictures.append(Picture("Training", 6, copied.pixels))  # under another label, as it happens
    clean, left_out = load_clean_train(FORMS["fer2013.csv"](tmp_path, pictures))
    assert int(copied.pixels[0, 0]) not in first_pixels(clean)
    assert (len(clean), left_out) == (14, {"copies of a test picture": 1, "constant": 0})


def test_a_limit_leaves_no_copy_in(tmp_path: Path) -> None:
    """It counts for what is learnt from; copies are looked for in the whole test half."""
    tests = [Picture("PublicTest", label, noise(100 + n)) for n in range(9) for label in range(7)]
    pictures = [*tests, *(Picture("Training", it.label, it.pixels) for it in tests), *made()]
    source = DataSource(FORMS["zip"](tmp_path, pictures), limit=21)
    clean, left_out = load_clean_train(source)
    copies = {it.pixels.tobytes() for it in tests}
    assert left_out["copies of a test picture"] > 0
    assert not any(image.tobytes() in copies for image in clean.images)


def test_constant_pictures_are_not_trained_on(tmp_path: Path) -> None:
    pictures = [*made(), Picture("Training", 0, np.full((48, 48), 250, np.uint8))]
    clean, left_out = load_clean_train(FORMS["zip"](tmp_path, pictures))
    assert 250 not in first_pixels(clean)
    assert left_out == {"copies of a test picture": 0, "constant": 1}


def test_a_constant_copy_is_counted_once(tmp_path: Path) -> None:
    gray = np.full((48, 48), 250, np.uint8)
    pictures = [*made(), Picture("Training", 0, gray), Picture("PublicTest", 0, gray)]
    _, left_out = load_clean_train(FORMS["zip"](tmp_path, pictures))
    assert left_out == {"copies of a test picture": 1, "constant": 0}


def test_copies_within_the_training_split_stay(tmp_path: Path) -> None:
    pictures = made()
    twice = Picture("Training", 3, pictures[0].pixels)
    clean, _ = load_clean_train(FORMS["fer2013.csv"](tmp_path, [*pictures, twice]))
    assert len(clean) == 15


@pytest.mark.parametrize("form", FORMS)
def test_an_archive_without_a_test_split_can_be_trained_on(form: str, tmp_path: Path) -> None:
    clean, left_out = load_clean_train(FORMS[form](tmp_path, made(["Training"])))
    assert (len(clean), sum(left_out.values())) == (14, 0)


def test_a_damaged_test_split_is_not_taken_for_an_absent_one(tmp_path: Path) -> None:
    path = FORMS["folder"](tmp_path, made())
    shutil.rmtree(path / "test/fear")
    with pytest.raises(DataError, match="test lacks the class folders fear"):
        load_clean_train(path)


def test_an_archive_of_nothing_but_copies_cannot_be_trained_on(tmp_path: Path) -> None:
    training = made(["Training"])
    copies = [Picture("PublicTest", p.label, p.pixels) for p in training]
    with pytest.raises(DataError, match="every training picture is constant or stands in the test"):
        load_clean_train(FORMS["zip"](tmp_path, [*training, *copies]))


@pytest.mark.parametrize("kind", [".webp", ".png"])
def test_a_half_is_brought_to_the_size_and_colour_of_the_other(kind: str, tmp_path: Path) -> None:
    large = cv2.imencode(kind, np.dstack([np.kron(noise(99), np.ones((2, 2), np.uint8))] * 3))[1]
    data = write_folder(
        tmp_path / "a", {**as_files(made()), f"train/happy/own{kind}": large.tobytes()}
    )
    clean, left_out = load_clean_train(data)
    assert (len(clean), left_out["copies of a test picture"]) == (15, 0)
