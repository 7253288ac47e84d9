"""Which folders are halves and classes, and that no picture in them is missed or taken twice."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_fer2013 import (
    Picture,
    as_fer2013_csv,
    as_files,
    made,
    noise,
    png,
    write_folder,
    write_zip,
)

from fer_edge.errors import DataError
from fer_edge.evaluation.fer2013 import load


def bmp(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".bmp", pixels)[1].tobytes()


def renamed(files: dict[str, bytes], **halves: str) -> dict[str, bytes]:
    return {
        "/".join((halves.get(name.split("/")[0], name.split("/")[0]), *name.split("/")[1:])): data
        for name, data in files.items()
    }


@pytest.mark.parametrize(
    "halves",
    [
        {"train": "Train", "test": "Test"},
        {"train": "Training", "test": "PublicTest"},
        {"train": "TRAINING", "test": "TESTING"},
        {"train": "train_set", "test": "test-set"},
        {"train": "train/train", "test": "test/test"},
        {"train": "train/images", "test": "test/images"},
        {"train": "a/train/images/all", "test": "b/test"},
    ],
)
@pytest.mark.parametrize("write", [write_zip, write_folder])
def test_halves_have_their_usual_names(
    write: Callable[..., Path], halves: dict[str, str], tmp_path: Path
) -> None:
    files = renamed(as_files(made(["Training", "PublicTest"])), **halves)
    path = write(tmp_path / "a", files)
    assert [len(load(path, split)) for split in ("train", "public-test")] == [14, 14]


def test_fer2013s_own_words_are_halves(tmp_path: Path) -> None:
    files = {f"{p.usage}/{p.member.split('/', 1)[1]}": png(p.pixels) for p in made()}
    path = write_folder(tmp_path / "a", files)
    splits = ("train", "public-test", "private-test", "test")
    assert [len(load(path, split)) for split in splits] == [14, 14, 14, 28]


def test_a_zip_packed_on_windows_is_read(tmp_path: Path) -> None:
    files = {name.replace("/", "\\"): data for name, data in as_files(made()).items()}
    assert len(load(write_zip(tmp_path / "a.zip", files), "train")) == 14


@pytest.mark.parametrize("start", ["./", "/", "../", "C:\\data\\"])
def test_a_zip_with_paths_from_elsewhere_is_read(start: str, tmp_path: Path) -> None:
    files = {f"{start}{name}": data for name, data in as_files(made()).items()}
    path = write_zip(tmp_path / "a.zip", files)
    assert [len(load(path, split)) for split in ("train", "test")] == [14, 28]


def test_a_name_that_is_twice_in_a_zip_is_one_picture(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", as_files(made()))
    with zipfile.ZipFile(path, "a") as archive:
        name = archive.namelist()[0]
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr(name, archive.read(name))
    assert len(load(path, "train")) == 14


@pytest.mark.parametrize("linked", ["train", "train/happy"])
def test_linked_folders_are_followed(linked: str, tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", as_files(made()))
    shutil.move(data / linked, tmp_path / "elsewhere")
    (data / linked).symlink_to(tmp_path / "elsewhere")
    assert len(load(data, "train")) == 14


def test_a_folder_of_links_to_pictures_is_read(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", as_files(made()))
    for file in list(data.rglob("*.png")):
        target = tmp_path / "blobs" / file.relative_to(data).as_posix().replace("/", "_")
        target.parent.mkdir(exist_ok=True)
        file.rename(target)
        file.symlink_to(target)
    assert len(load(data, "train")) == 14


def test_a_link_to_a_folder_around_it_ends(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", as_files(made()))
    (data / "train" / "happy" / "loop").symlink_to(data)
    assert len(load(data, "train")) == 14


def test_folders_that_link_to_each_other_end(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", as_files(made()))
    (data / "train/happy/other").symlink_to(data / "train/sad")
    (data / "train/sad/other").symlink_to(data / "train/happy")
    assert len(load(data, "train")) == 18


@pytest.mark.parametrize("name", ["contempt", "happy.lnk"])
def test_a_file_in_place_of_a_class_folder_is_named(name: str, tmp_path: Path) -> None:
    files = {**as_files(made()), f"train/{name}": b"../elsewhere"}
    with pytest.raises(DataError, match=f"train/{name} stands for a folder, and is a file"):
        load(write_folder(tmp_path / "a", files), "train")


@pytest.mark.parametrize(
    "name",
    ["x.jpg:Zone.Identifier", "@eaDir/x.png/S.jpg", "._x.png", "Icon\r", "__pycache__/a.pyc"],
)
def test_what_systems_leave_behind_is_no_picture(name: str, tmp_path: Path) -> None:
    files = {**as_files(made()), f"train/happy/{name}": png(noise(99))}
    assert len(load(write_zip(tmp_path / "a.zip", files), "train")) == 14


def test_files_in_class_folders_that_are_no_pictures_are_told(tmp_path: Path) -> None:
    files = {**as_files(made()), "train/happy/a.npy": b"", "train/sad/b.txt": b""}
    (note,) = load(write_zip(tmp_path / "a.zip", files), "train").notes
    assert (
        note == "2 files in class folders are no pictures and left out, train/happy/a.npy for one"
    )


def test_a_picture_that_icloud_has_put_away_is_named(tmp_path: Path) -> None:
    files = {**as_files(made()), "train/happy/.x.jpg.icloud": b"bplist00"}
    with pytest.raises(DataError, match=r"train/happy/\.x\.jpg\.icloud"):
        load(write_folder(tmp_path / "a", files), "train")


def test_a_dangling_link_among_the_pictures_is_named(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", as_files(made()))
    (data / "train/happy/gone.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(DataError, match=r"gone\.png is a link to .*nowhere\.png"):
        load(data, "train")


@pytest.mark.parametrize("suffix", [".webp", ".bmp", ".jfif", ".jpe", ".JPG", ".PNG"])
def test_every_format_that_is_read_elsewhere_is_read_here(suffix: str, tmp_path: Path) -> None:
    kind = {".jfif": ".jpg", ".jpe": ".jpg"}.get(suffix.lower(), suffix.lower())
    encoded = cv2.imencode(kind, noise(99))[1].tobytes()
    data = write_folder(
        tmp_path / "data", {**as_files(made()), f"train/happy/Training_x{suffix}": encoded}
    )
    assert len(load(data, "train")) == 15


@pytest.mark.parametrize("name", ["x.tif", "x.gif", "x.heic", "x.crdownload", "x", "x.jpg.part"])
@pytest.mark.parametrize("write", [write_zip, write_folder])
def test_what_cannot_be_read_in_a_class_folder_is_named(
    write: Callable[..., Path], name: str, tmp_path: Path
) -> None:
    files = {**as_files(made()), f"train/happy/{name}": b"II*\0 no picture that is read"}
    with pytest.raises(DataError, match=f"train/happy/{name} cannot be read as a picture"):
        load(write(tmp_path / "a", files), "train")


@pytest.mark.parametrize("inner", ["images", "data/images"])
def test_the_same_tree_once_more_inside_is_read_once(inner: str, tmp_path: Path) -> None:
    files = as_files(made())
    doubled = {**files, **{f"{inner}/{name}": data for name, data in files.items()}}
    assert len(load(write_zip(tmp_path / "a.zip", doubled), "train")) == 14


@pytest.mark.parametrize(
    "copy", ["train/happy/happy", "train/Happy", "train/happiness", "train/happy/old/files"]
)
def test_a_class_once_more_is_read_once(copy: str, tmp_path: Path) -> None:
    files = as_files(made())
    doubled = {n.replace("train/happy", copy): d for n, d in files.items() if "train/happy" in n}
    crops = load(write_zip(tmp_path / "a.zip", {**files, **doubled}), "train")
    assert len(crops) == 14
    assert "holds the same pictures as train/" in crops.notes[0]


def test_folders_of_different_pictures_with_the_same_names_stay(tmp_path: Path) -> None:
    """Cameras number their pictures; uncompressed ones all have one size."""
    faces = {f"train/happy/{who}/0.bmp": bmp(noise(seed)) for who, seed in (("a", 1), ("b", 2))}
    files = {**as_files(made()), **faces}
    assert len(load(write_zip(tmp_path / "a.zip", files), "train")) == 16


def test_a_pipe_among_the_pictures_is_named(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", as_files(made()))
    os.mkfifo(data / "train/happy/x.png")
    with pytest.raises(DataError, match=r"x\.png is a pipe, socket or device; move it away"):
        load(data, "train")


@pytest.mark.parametrize("write", [write_zip, write_folder])
def test_a_picture_that_git_lfs_did_not_fetch_is_told(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    pointer = {"train/happy/x.png": b"version https://git-lfs.github.com/spec/v1\n"}
    with pytest.raises(DataError, match="git lfs pull"):
        load(write(tmp_path / "a", {**as_files(made()), **pointer}), "train")


def test_two_trees_of_different_pictures_are_told_apart(tmp_path: Path) -> None:
    files = as_files(made())
    other = {f"other/{name}": data for name, data in list(files.items())[1:]}
    with pytest.raises(DataError, match="two folders of train, train and other/train"):
        load(write_zip(tmp_path / "a.zip", {**files, **other}), "train")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("fer2013", b"emotion,pixels,Usage\n", r"without its suffix; call it fer2013\.csv$"),
        ("fer2013.csv", b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        ("fer2013.csv", b"<!DOCTYPE html>", "is a web page"),
        ("fer2013.csv.gz", b"\x1f\x8b\x08", "is packed; unpack it, and give what comes out"),
        ("fer2013.tar.gz", b"\x1f\x8b\x08", "is packed; unpack it"),
        ("fer2013.tar", b"x".ljust(257, b"\0") + b"ustar", "is a tar archive; unpack it"),
        ("fer2013.csv.zst", b"\x28\xb5\x2f\xfd", "is packed; unpack it"),
        ("face.jpg", b"\xff\xd8\xff", "is a picture; give the folder around its class folder"),
        ("list.jsonl", b'{"file_name": "a.png"}', r"it is JSON; give a list file"),
        ("fer2013.xls", b"\xd0\xcf", r"begins with .*; give a CSV file"),
        ("fer2013.7z", b"7z\xbc\xaf\x27\x1c", "is a 7z or RAR archive"),
        ("fer2013.rar", b"Rar!\x1a", "is a 7z or RAR archive"),
        ("fer2013.zip", b"version https://git-lfs.github.com/spec/v1", "Git LFS pointer"),
        ("fer2013.zip", b"<!DOCTYPE html>", "is a web page"),
        ("fer2013.zip", b"", "is empty"),
    ],
)
def test_a_file_that_is_no_data_set_is_told_for_what_it_is(
    name: str, data: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=message):
        load(tmp_path / name, "train")


@pytest.mark.parametrize("write", [write_zip, write_folder])
def test_a_table_of_another_name_is_told_to_be_given_itself(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    path = write(tmp_path / "a", {"fer.csv": as_fer2013_csv(made()), "README": b"x"})
    with pytest.raises(DataError, match=r"no pictures, but fer\.csv; give such a table itself"):
        load(path, "train")


@pytest.mark.parametrize("given", ["fer2013", "FER2013.zip", "fer2013.csv"])
def test_what_is_named_like_a_missing_path_is_told(given: str, tmp_path: Path) -> None:
    write_zip(tmp_path / "fer2013.ZIP", as_files(made()))
    with pytest.raises(DataError, match=rf"no FER2013 at .*{given}; there is fer2013\.ZIP: give"):
        load(tmp_path / given, "train")


def test_a_zip_in_a_zip_is_named(tmp_path: Path) -> None:
    inner = write_zip(tmp_path / "fer2013.zip", as_files(made())).read_bytes()
    path = write_zip(tmp_path / "archive.zip", {"fer2013.zip": inner})
    with pytest.raises(DataError, match=r"holds fer2013\.zip, which is packed itself"):
        load(path, "train")


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"x.npy": b"\x93NUMPY"}, r"no pictures, but x\.npy: it holds arrays .* train/<class>/"),
        ({"data/train-0.parquet": b"PAR1"}, r"but data/train-0\.parquet: it holds arrays"),
        ({"[Content_Types].xml": b"<", "xl/workbook.xml": b"<"}, "spreadsheet .* 'CSV UTF-8'"),
    ],
)
@pytest.mark.parametrize("write", [write_zip, write_folder])
def test_data_that_is_no_pictures_is_told(
    write: Callable[..., Path], files: dict[str, bytes], told: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=told):
        load(write(tmp_path / "a", files), "train")


def test_what_is_there_stands_in_the_message_of_an_empty_split(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "a", as_files([Picture("PublicTest", 0, noise(0))]))
    with pytest.raises(DataError, match=r"no pictures of train .*; it has test"):
        load(path, "train")


@pytest.mark.parametrize("given", ["https://a.b/fer2013.zip", Path("https://a.b/fer2013.zip")])
def test_an_address_is_no_data_set(given: str | Path) -> None:
    with pytest.raises(DataError, match=r"^https://a\.b/fer2013\.zip is an address; download the"):
        load(given, "train")
