"""FER2013 in every form that people have it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_fer2013 import (
    FORMS,
    USAGES,
    as_files,
    first_pixels,
    made,
    noise,
    png,
    write_folder,
    write_zip,
)

from fer_edge import LABELS
from fer_edge.errors import DataError
from fer_edge.evaluation import fer2013
from fer_edge.evaluation.fer2013 import LabelledCrops, load


@pytest.mark.parametrize("split", fer2013.SPLITS)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_holds_every_split(form: str, split: str, tmp_path: Path) -> None:
    pictures = made()
    crops = load(FORMS[form](tmp_path, pictures), split)
    wanted = {
        "train": USAGES[:1],
        "public-test": USAGES[1:2],
        "private-test": USAGES[2:],
        "test": USAGES[1:],
    }[split]
    expected = {int(p.pixels[0, 0]): p for p in pictures if p.usage in wanted}
    assert first_pixels(crops) == sorted(expected)
    for image, label in zip(crops.images, crops.labels, strict=True):
        picture = expected[int(image[0, 0])]
        np.testing.assert_array_equal(image, picture.pixels)
        assert label == picture.label


@pytest.mark.parametrize("form", FORMS)
def test_the_hash_does_not_depend_on_the_form(form: str, tmp_path: Path) -> None:
    pictures = made(["Training"])
    by_hand = LabelledCrops(
        np.stack([p.pixels for p in pictures]), np.array([p.label for p in pictures]), ()
    )
    assert load(FORMS[form](tmp_path, pictures), "train").sha256 == by_hand.sha256


@pytest.mark.parametrize("form", ["zip", "fer2013.csv"])
def test_arrays_are_as_documented(form: str, tmp_path: Path) -> None:
    crops = load(str(FORMS[form](tmp_path, made())), "train")
    assert (crops.images.dtype, crops.images.shape) == (np.uint8, (14, 48, 48))
    assert (crops.labels.dtype, crops.labels.shape) == (np.int64, (14,))
    assert len(crops.names) == len(set(crops.names)) == len(crops) == 14


@pytest.mark.parametrize(
    ("label", "name"),
    [
        (0, "anger"),
        (1, "disgusted"),
        (2, "fearful"),
        (2, "afraid"),
        (3, "happiness"),
        (4, "sadness"),
        (5, "surprised"),
        (6, "Neutral"),
    ],
)
def test_class_folders_may_have_their_usual_names(label: int, name: str, tmp_path: Path) -> None:
    files = {member.replace(LABELS[label], name): data for member, data in as_files(made()).items()}
    crops = load(write_zip(tmp_path / "a.zip", files), "train")
    assert np.bincount(crops.labels).tolist() == [2] * 7


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".JPG"])
def test_jpegs_are_read_too(suffix: str, tmp_path: Path) -> None:
    files = {
        f"train/{name}/Training_1{suffix}": cv2.imencode(".jpg", np.full((48, 48), 99, np.uint8))[1]
        for name in LABELS
    }
    crops = load(write_folder(tmp_path, {k: v.tobytes() for k, v in files.items()}), "train")
    assert np.unique(crops.images).tolist() == [99]


@pytest.mark.parametrize(
    "stray",
    [
        "__MACOSX/train/happy/._Training_1.png",
        "train/happy/._Training_1.png",
        "train/.ipynb_checkpoints/Training_1.png",
        "train/happy/notes.txt",
        "train/happy/.DS_Store",
        "__MACOSX/._fer2013.csv",
        "fer2013_votes.csv",
    ],
)
@pytest.mark.parametrize("write", [write_zip, write_folder])
def test_what_systems_and_people_leave_about_is_passed_over(
    write: Callable[..., Path], stray: str, tmp_path: Path
) -> None:
    crops = load(write(tmp_path / "a", {**as_files(made()), stray: b"stray"}), "train")
    assert len(crops) == 14


def test_a_picture_whose_name_tells_no_half_is_of_the_test_split_alone(tmp_path: Path) -> None:
    files = {
        **as_files(made()),
        "test/happy/im1.png": png(noise(200)),
        "test/happy/Training_1.png": png(noise(201)),
    }
    path = write_zip(tmp_path / "a.zip", files)
    counts = {split: len(load(path, split)) for split in fer2013.SPLITS}
    assert counts == {"train": 14, "public-test": 14, "private-test": 14, "test": 30}


def test_a_picture_of_the_training_folder_is_trained_on_whatever_its_name(tmp_path: Path) -> None:
    files = {**as_files(made()), "train/happy/PublicTest_1.png": png(noise(200))}
    path = write_zip(tmp_path / "a.zip", files)
    assert (len(load(path, "train")), len(load(path, "public-test"))) == (15, 14)


def test_a_folder_may_be_reached_by_a_link(tmp_path: Path) -> None:
    path = FORMS["folder"](tmp_path, made())
    (tmp_path / "link").symlink_to(path)
    assert len(load(tmp_path / "link", "train")) == 14


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    path = FORMS["fer2013.csv"](tmp_path, made())
    path.chmod(0)
    with pytest.raises(DataError, match="check who may read it"):
        load(path, "train")


def test_the_public_half_of_the_real_archive_is_whole(fer2013_archive: Path) -> None:
    crops = load(fer2013_archive, "public-test")
    # Goodfellow et al. 2013: 3,589 pictures in the public test set
    assert np.bincount(crops.labels).tolist() == [467, 56, 496, 895, 653, 415, 607]
