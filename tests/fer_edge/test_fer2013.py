"""FER2013 in every form that people have it, and whatever can be wrong with it."""

from __future__ import annotations

import csv
import io
import os
import shutil
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest

from fer_edge import LABELS, fer2013
from fer_edge.errors import DataError, EmptySplitError
from fer_edge.fer2013 import LabelledCrops, copies_of, load, load_clean_train

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


# --- every form


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


@pytest.mark.parametrize("form", FORMS)
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
        "train/happy/more/Training_1.png",
        "valid/happy/Training_1.png",
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


# --- what can be wrong with any of them


def test_a_split_is_one_of_four(tiny_fer2013: Path) -> None:
    with pytest.raises(DataError, match="'valid'; there are train, public-test, private-test"):
        load(tiny_fer2013, "valid")


def test_a_path_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no FER2013 at .*none\.zip: give Kaggle's zip or folder"):
        load(tmp_path / "none.zip", "train")


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a"])
def test_a_file_of_another_kind_is_told(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="neither a folder, a zip nor a CSV file"):
        load(write_file(tmp_path / name, b"something else"), "train")


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("train", "no training pictures"),
        ("public-test", r"none is named PublicTest_\*"),
        ("private-test", r"none is named PrivateTest_\*"),
        ("test", "no test pictures"),
    ],
)
@pytest.mark.parametrize("form", FORMS)
def test_an_empty_split_is_told_apart_from_damage(
    form: str, split: str, message: str, tmp_path: Path
) -> None:
    wanted = {"train": USAGES[:1], "public-test": USAGES[1:2], "private-test": USAGES[2:]}
    others = set(USAGES) - set(wanted.get(split, USAGES[1:]))
    path = FORMS[form](tmp_path, made(others))
    with pytest.raises(EmptySplitError, match=message):
        load(path, split)


@pytest.mark.parametrize("half", ["train", "test"])
def test_a_lacking_class_folder_is_named(half: str, tmp_path: Path) -> None:
    pictures = [p for p in made() if not p.member.startswith((f"{half}/fear", f"{half}/sad"))]
    path = write_zip(tmp_path / "a.zip", as_files(pictures))
    with pytest.raises(DataError, match=f"{half} lacks the class folders fear, sad"):
        load(path, half)


def test_an_unknown_class_folder_is_named(tmp_path: Path) -> None:
    files = {**as_files(made()), "train/contempt/Training_1.png": png(noise(1))}
    path = write_zip(tmp_path / "a.zip", files)
    with pytest.raises(DataError, match="train/contempt is not a class of FER2013; expected angry"):
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


# --- damaged zips


def test_a_truncated_zip_is_refused(tiny_fer2013: Path, tmp_path: Path) -> None:
    data = tiny_fer2013.read_bytes()
    with pytest.raises(DataError):
        load(write_file(tmp_path / "a.zip", data[: len(data) // 2]), "train")


def test_a_zip_with_any_byte_changed_is_read_or_refused(tmp_path: Path) -> None:
    pictures = [Picture("Training", label, noise(label)) for label in range(7)]
    whole = write_zip(tmp_path / "a.zip", as_files(pictures)).read_bytes()
    expected = load(tmp_path / "a.zip", "train").sha256
    rng = np.random.default_rng(0)
    start_of_directory = whole.index(b"PK\1\2")
    refused = 0
    for position in [*rng.integers(0, len(whole), 150), *range(start_of_directory, len(whole), 3)]:
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        (tmp_path / "b.zip").write_bytes(damaged)
        try:
            assert load(tmp_path / "b.zip", "train").sha256 == expected
        except DataError:
            refused += 1
    assert refused > 150


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    data = bytearray(write_zip(tmp_path / "a.zip", as_files(made())).read_bytes())
    at = data.index(b"PK\1\2")
    while at >= 0:
        data[at + 8] |= 1  # the flag in each entry of the directory
        at = data.find(b"PK\1\2", at + 4)
    with pytest.raises(DataError, match="password"):
        load(write_file(tmp_path / "b.zip", bytes(data)), "train")


# --- CSV


def row(**changes: object) -> tuple[object, ...]:
    values = {"emotion": 3, "pixels": spelled(noise(0)), "Usage": "Training", **changes}
    return tuple(values.values())


def written(tmp_path: Path, *rows: tuple[object, ...]) -> Path:
    return write_file(tmp_path / "fer2013.csv", table(("emotion", "pixels", "Usage"), rows))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (row(emotion=7), "has the emotion '7'; expected 0 to 6"),
        (row(emotion=-1), "has the emotion '-1'; expected 0 to 6"),
        (row(emotion="happy"), "has the emotion 'happy'"),
        (row(Usage="Validation"), "has the Usage 'Validation'; expected Training, PublicTest"),
        (row(pixels=spelled(noise(0)[:, :47])), "has 2256 pixels instead of 2304"),
        (row(pixels=""), "has 0 pixels instead of 2304"),
        (
            row(pixels="256 " + spelled(noise(0))[2:]),
            "has the pixel '256', no number from 0 to 255",
        ),
        (row(pixels="-1 " + spelled(noise(0))[2:]), "has the pixel '-1', no number from 0 to 255"),
        (row(pixels="x " + spelled(noise(0))[2:]), "has the pixel 'x', no number from 0 to 255"),
        (row(pixels="1.5 " + spelled(noise(0))[2:]), "has the pixel '1.5', no number"),
        ((3, "0 0"), "has 2 fields; expected emotion, pixels and Usage"),
    ],
)
def test_a_bad_row_is_told_with_its_line(
    bad: tuple[object, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=f"fer2013.csv line 3 {message}"):
        load(written(tmp_path, row(), bad), "train")


def test_a_row_of_another_split_is_not_parsed(tmp_path: Path) -> None:
    path = written(tmp_path, row(), row(Usage="PublicTest", pixels="none"))
    assert len(load(path, "train")) == 1


def test_an_unknown_usage_is_no_row_of_another_split(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Usage 'training'"):
        load(written(tmp_path, row(Usage="training")), "public-test")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "lacks the columns Usage, emotion, pixels"),
        (b"emotion,pixels\n1,0 0\n", "lacks the columns Usage"),
        (b"emotion,pixels,Usage\n\xff,,\n", "is not a readable CSV file"),
        (b'emotion,pixels,Usage\n3,"' + b"1 " * 100_000, "is not a readable CSV file"),
    ],
)
def test_a_csv_of_another_kind_is_told(data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"fer2013.csv {message}"):
        load(write_file(tmp_path / "fer2013.csv", data), "train")


def test_a_bad_row_in_a_zip_is_told_with_its_file(tmp_path: Path) -> None:
    data = written(tmp_path, row(emotion=9)).read_bytes()
    path = write_zip(tmp_path / "a.zip", {"data/fer2013.csv": data})
    with pytest.raises(DataError, match=r"a\.zip:data/fer2013\.csv line 2 has the emotion '9'"):
        load(path, "train")


@pytest.mark.parametrize("ending", [b"\n", b"\r\n\r\n", b"\n\n\n"])
def test_empty_lines_are_no_rows(ending: bytes, tmp_path: Path) -> None:
    path = written(tmp_path, row())
    path.write_bytes(path.read_bytes() + ending)
    assert len(load(path, "train")) == 1


def test_the_mark_of_spreadsheets_is_no_part_of_the_header(tmp_path: Path) -> None:
    path = written(tmp_path, row())
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(load(path, "train")) == 1


# --- selections, hashes and copies


@pytest.fixture
def crops() -> LabelledCrops:
    images = np.stack([noise(seed) for seed in range(4)])
    return LabelledCrops(images, np.array([0, 1, 2, 3]), ("a", "b", "c", "d"))


@pytest.mark.parametrize(
    "index", [np.array([3, 1]), np.array([False, True, False, True])], ids=["positions", "mask"]
)
def test_a_selection_keeps_pictures_labels_and_names_together(
    index: np.ndarray, crops: LabelledCrops
) -> None:
    taken = crops.take(index)
    assert dict(zip(taken.names, taken.labels.tolist(), strict=True)) == {"b": 1, "d": 3}
    assert first_pixels(taken) == [1, 3]


def test_the_hash_does_not_depend_on_order_or_names(crops: LabelledCrops) -> None:
    turned = crops.take(np.array([2, 0, 3, 1]))
    renamed = LabelledCrops(turned.images, turned.labels, ("", "", "", ""))
    assert renamed.sha256 == crops.sha256


def test_the_hash_depends_on_every_pixel(crops: LabelledCrops) -> None:
    images = crops.images.copy()
    images[2, 47, 47] ^= 1
    assert LabelledCrops(images, crops.labels, crops.names).sha256 != crops.sha256


def test_the_hash_depends_on_every_label(crops: LabelledCrops) -> None:
    swapped = crops.labels[[1, 0, 2, 3]]
    assert LabelledCrops(crops.images, swapped, crops.names).sha256 != crops.sha256


def test_the_hash_depends_on_how_often_a_picture_comes(crops: LabelledCrops) -> None:
    assert crops.take(np.array([0, 1, 2, 3, 3])).sha256 != crops.sha256


def test_copies_are_found_pixel_by_pixel(crops: LabelledCrops) -> None:
    others = crops.images[[2, 0]].copy()
    others[1, 0, 0] += 1
    assert copies_of(crops.images, others).tolist() == [False, False, True, False]


def test_nothing_has_a_copy_in_nothing(crops: LabelledCrops) -> None:
    assert copies_of(crops.images, crops.images[:0]).tolist() == [False] * 4


# --- the part that may be learnt from


@pytest.mark.parametrize("half", ["PublicTest", "PrivateTest"])
def test_copies_of_either_test_half_are_not_trained_on(half: str, tmp_path: Path) -> None:
    pictures = made()
    copied = next(p for p in pictures if p.usage == half)
    pictures.append(Picture("Training", 6, copied.pixels))  # under another label, as it happens
    clean, left_out = load_clean_train(FORMS["fer2013.csv"](tmp_path, pictures))
    assert int(copied.pixels[0, 0]) not in first_pixels(clean)
    assert (len(clean), left_out) == (14, {"copies of a test picture": 1, "constant": 0})


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


# --- links


def test_a_folder_may_be_reached_by_a_link(tmp_path: Path) -> None:
    path = FORMS["folder"](tmp_path, made())
    (tmp_path / "link").symlink_to(path)
    assert len(load(tmp_path / "link", "train")) == 14


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_an_error_of_the_system(tmp_path: Path) -> None:
    path = FORMS["fer2013.csv"](tmp_path, made())
    path.chmod(0)
    with pytest.raises(PermissionError):
        load(path, "train")


# --- the real archive


def test_the_public_half_of_the_real_archive_is_whole(fer2013_archive: Path) -> None:
    crops = load(fer2013_archive, "public-test")
    # Goodfellow et al. 2013: 3,589 pictures in the public test set
    assert np.bincount(crops.labels).tolist() == [467, 56, 496, 895, 653, 415, 607]
