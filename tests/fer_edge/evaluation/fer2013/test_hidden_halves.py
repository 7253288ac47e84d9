"""A test half that cannot be read, or is called otherwise, is never taken for an absent one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from made_fer2013 import (
    FORMS,
    as_fer2013_csv,
    as_files,
    as_icml_csv,
    made,
    write_folder,
    write_zip,
)

from fer_edge.errors import DataError
from fer_edge.evaluation.fer2013 import load, load_clean_train


@pytest.fixture
def with_copies(tmp_path: Path) -> Path:
    """A folder whose training half holds the pictures of its test half too."""
    pictures = made()
    copies = [p._replace(usage="Training") for p in pictures if p.usage == "PublicTest"]
    return write_folder(tmp_path / "data", as_files([*pictures, *copies]))


@pytest.mark.parametrize(
    "name",
    [
        *("Test", "TEST", "tEsT", "testing", "tests", "testset", "test_set", "fer2013_test"),
        *("validation", "Val", "valid", "dev", "eval"),
    ],
)
def test_copies_are_left_out_whatever_the_test_half_is_called(name: str, with_copies: Path) -> None:
    (with_copies / "test").rename(with_copies / name)
    assert load_clean_train(with_copies)[1]["copies of a test picture"] == 14


def test_copies_are_left_out_when_the_test_half_is_a_link(
    with_copies: Path, tmp_path: Path
) -> None:
    shutil.move(with_copies / "test", tmp_path / "elsewhere")
    (with_copies / "test").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert load_clean_train(with_copies)[1]["copies of a test picture"] == 14


def _dangling(data: Path) -> None:
    shutil.rmtree(data / "test")
    (data / "test").symlink_to(data / "nowhere")


def _emptied(data: Path) -> None:
    shutil.rmtree(data / "test")
    (data / "test").mkdir()


def _packed(data: Path) -> None:
    shutil.make_archive(str(data / "test"), "zip", data / "test")
    shutil.rmtree(data / "test")


def _of_another_name(data: Path) -> None:
    (data / "test").rename(data / "holdout")


def _as_a_table(data: Path) -> None:
    shutil.rmtree(data / "test")
    (data / "test_labels.csv").write_text("path,label\n")


def _as_a_link_of_git_on_windows(data: Path) -> None:
    shutil.rmtree(data / "test")
    (data / "test").write_text("../elsewhere/test")


def _as_a_shortcut(data: Path) -> None:
    shutil.rmtree(data / "test")
    (data / "test.lnk").write_bytes(b"L")


def _in_an_archive_of_another_name(data: Path) -> None:
    shutil.make_archive(str(data / "holdout"), "zip", data / "test")
    shutil.rmtree(data / "test")


def _as_a_table_of_this_data_set(data: Path) -> None:
    shutil.rmtree(data / "test")
    (data / "fer2013_test.parquet").write_bytes(b"PAR1")


def _as_a_shortcut_to_it(data: Path) -> None:
    shutil.rmtree(data / "test")
    (data / "Shortcut to test.lnk").write_bytes(b"L")


def _hidden(data: Path) -> None:
    shutil.move(data / "test", data / ".test")
    shutil.rmtree(data / ".test" / "angry")


def _with_papers_alone(data: Path) -> None:
    shutil.rmtree(data / "test")
    (data / "test").mkdir()
    (data / "test/labels.csv").write_text("path,label\n")


def _as_arrays(data: Path) -> None:
    for file in list((data / "test").rglob("*.png")):
        file.rename(file.with_suffix(".npy"))


def _loose(data: Path) -> None:
    for file in list((data / "test").rglob("*.png")):
        file.rename(data / file.name)
    shutil.rmtree(data / "test")


def _above_the_training_half(data: Path) -> None:
    (data / "images").mkdir()
    (data / "train").rename(data / "images/train")
    (data / "test").rename(data / "holdout")


def _inside_of_classes(data: Path) -> None:
    for half in ("train", "test"):
        for folder in list((data / half).iterdir()):
            (data / folder.name).mkdir(exist_ok=True)
            folder.rename(data / folder.name / half)
        (data / half).rmdir()


def _without_classes(data: Path) -> None:
    for file in list((data / "test").rglob("*.png")):
        file.rename(data / "test" / f"{file.parent.name}_{file.name}")
    for folder in list((data / "test").iterdir()):
        if folder.is_dir():
            folder.rmdir()


@pytest.mark.parametrize(
    ("hide", "message"),
    [
        (_dangling, "test is a link to .*nowhere, which is not there"),
        (_emptied, "test is there and has no pictures"),
        (_packed, r"test\.zip could be a half, and is no folder"),
        (_as_a_table, r"test_labels\.csv could be a half, and is no folder"),
        (_as_a_link_of_git_on_windows, "test could be a half, and is no folder"),
        (_as_a_shortcut, r"test\.lnk could be a half, and is no folder"),
        (_of_another_name, "holdout stands beside train, has pictures, and is not read"),
        (_in_an_archive_of_another_name, r"holdout\.zip could be a half, and is no folder"),
        (_as_a_table_of_this_data_set, r"fer2013_test\.parquet could be a half"),
        (_as_a_shortcut_to_it, r"Shortcut to test\.lnk could be a half"),
        (_hidden, r"angry"),
        (_with_papers_alone, r"test is there and has no pictures, but test/labels\.csv"),
        (_as_arrays, r"test is there and has no pictures, but test/angry/.*\.npy"),
        (_loose, "no test half, and pictures that are in no half, P.*_.* for one"),
        (_above_the_training_half, "no test half, and pictures that are in no half, holdout/"),
        (_inside_of_classes, "angry/test/.* stands in test inside of a class"),
        (_without_classes, "test stands beside train, has pictures, and is not read"),
    ],
)
def test_a_test_half_that_cannot_be_read_is_not_taken_for_an_absent_one(
    hide: Callable[[Path], None], message: str, with_copies: Path
) -> None:
    hide(with_copies)
    with pytest.raises(DataError, match=message):
        load_clean_train(with_copies)


def test_a_test_half_of_pictures_without_a_suffix_is_read(with_copies: Path) -> None:
    for file in list((with_copies / "test").rglob("*.png")):
        file.rename(file.with_suffix(""))
    assert load_clean_train(with_copies)[1]["copies of a test picture"] == 14


@pytest.mark.parametrize("beside", ["README.md", "LICENSE", "labels.csv", "test.py"])
def test_papers_beside_the_training_half_are_no_test_half(beside: str, tmp_path: Path) -> None:
    files = {**as_files(made(["Training"])), beside: b"x"}
    assert load_clean_train(write_folder(tmp_path / "a", files))[1] == {"constant": 0}


def test_fer2013s_names_tell_the_halves_of_a_single_tree(tmp_path: Path) -> None:
    files = {name.partition("/")[2]: data for name, data in as_files(made()).items()}
    path = write_folder(tmp_path / "a", files)
    splits = ("train", "public-test", "private-test")
    assert [len(load(path, split)) for split in splits] == [14, 14, 14]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_test_half_without_permission_is_told(with_copies: Path) -> None:
    (with_copies / "test").chmod(0)
    try:
        with pytest.raises(DataError, match=r"cannot read .*test.*check who may read it"):
            load_clean_train(with_copies)
    finally:
        (with_copies / "test").chmod(0o755)


@pytest.mark.parametrize(
    "beside",
    ["test.csv", "PublicTest.csv", "test.zip", "test/a.png", "rest.zip", "rest/fear/a.png"],
)
def test_a_table_without_test_rows_has_no_test_half_beside_it(beside: str, tmp_path: Path) -> None:
    files = {"fer2013.csv": as_fer2013_csv(made(["Training"])), beside: b"x"}
    with pytest.raises(DataError, match="beside it could be its test half"):
        load_clean_train(write_folder(tmp_path / "a", files))


def test_pictures_beside_a_table_are_told(tmp_path: Path) -> None:
    files = {"fer2013.csv": as_fer2013_csv(made()), **as_files(made())}
    crops = load(write_folder(tmp_path / "a", files), "train")
    assert crops.notes == ("42 pictures beside fer2013.csv are left out: it is read alone",)


def test_a_table_with_its_test_rows_may_have_others_beside_it(tmp_path: Path) -> None:
    files = {"icml_face_data.csv": as_icml_csv(made()), "test.csv": b"x", "fer2013.tar.gz": b"x"}
    assert (
        load_clean_train(write_zip(tmp_path / "a.zip", files))[1]["copies of a test picture"] == 0
    )


def test_without_a_test_half_copies_are_not_counted(tmp_path: Path) -> None:
    _, left_out = load_clean_train(FORMS["folder"](tmp_path, made(["Training"])))
    assert left_out == {"constant": 0}
