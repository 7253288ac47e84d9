"""List files: a line for each picture, with what people write in its columns."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from made_fer2013 import colour, png, write_folder

from fer_edge import LABELS
from fer_edge.artifacts.spec import InputSpec
from fer_edge.errors import DataError
from fer_edge.evaluation.data_source import DataSource
from fer_edge.evaluation.fer2013 import load


def write_list(tmp_path: Path, text: str, count: int = 3) -> Path:
    files = {f"pics/{name}{n}.png": png(colour(n)) for name in LABELS for n in range(count)}
    write_folder(tmp_path, files)
    (tmp_path / "list.csv").write_text(text)
    return tmp_path / "list.csv"


ROWS = [f"pics/{name}{n}.png,{name}" for name in LABELS for n in range(3)]


@pytest.mark.parametrize(
    "header", ["", "path,label\n", "Image,Expression\n", "\ufefffile,emotion\n"]
)
@pytest.mark.parametrize("separator", [",", ";", "\t", " "])
def test_a_list_file_is_a_data_set(header: str, separator: str, tmp_path: Path) -> None:
    text = (header + "\n".join(ROWS) + "\n").replace(",", separator)
    assert len(load(write_list(tmp_path, text), "train")) == 21


def test_a_list_with_fer2013s_names_of_columns_is_no_table_of_pixels(tmp_path: Path) -> None:
    rows = [f"{row},Training" for row in ROWS]
    path = write_list(tmp_path, "\n".join(["", "file,emotion,Usage", *rows]))
    assert len(load(path, "train")) == 21


def test_without_a_header_the_label_may_come_first(tmp_path: Path) -> None:
    rows = [",".join(reversed(row.split(","))) for row in ROWS]
    crops = load(write_list(tmp_path, "\n".join(rows)), "train")
    assert crops.names == tuple(row.split(",")[0] for row in ROWS)


def test_a_list_may_tell_splits_and_boxes(tmp_path: Path) -> None:
    header = "path,label,split,face_x,face_y,face_width,face_height\n"
    splits = ("train", "val", "test")
    rows = [f"{row},{splits[n % 3]},10,20,50,60" for n, row in enumerate(ROWS)]
    path = write_list(tmp_path, header + "\n".join(rows))
    crops = load(path, "public-test", wanted=InputSpec(60, 50, "rgb", (0.5,) * 3, (0.5,) * 3))
    assert len(crops) == 7
    whole = cv2.imread(str(tmp_path / crops.names[0]))
    np.testing.assert_array_equal(crops.images[0], whole[20:80, 10:60])


def test_a_column_of_halves_is_known_by_what_it_holds(tmp_path: Path) -> None:
    rows = [f"{row},{'test' if n % 3 == 2 else 'train'}" for n, row in enumerate(ROWS)]
    path = write_list(tmp_path, "path,label,phase\n" + "\n".join(rows))
    assert [len(load(path, split)) for split in ("train", "test")] == [14, 7]


@pytest.mark.parametrize("last", ["test/{:04}.png", "test_{:04}.png"])
def test_paths_tell_the_halves_of_a_list_without_splits(last: str, tmp_path: Path) -> None:
    others = {f"pics/{last.format(n)}": name for n, name in enumerate(LABELS)}
    write_folder(tmp_path, {name: png(colour(9)) for name in others})
    rows = [*ROWS, *(f"{name},{label}" for name, label in others.items())]
    path = write_list(tmp_path, "\n".join(rows))
    assert [len(load(path, split)) for split in ("train", "test")] == [21, 7]


def test_a_line_that_is_there_twice_counts_once_and_is_told(tmp_path: Path) -> None:
    crops = load(write_list(tmp_path, "\n".join([*ROWS, *ROWS[:2]])), "train")
    told = "2 lines of list.csv repeat others and are left out"
    assert (len(crops), crops.notes[-1]) == (21, told)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label,phase\npics/happy0.png,happy,test\npics/sad0.png,sad,\n", "column phase, wh"),
        ("path,label,is_test\npics/happy0.png,happy,0\n", "column is_test, which could tell the h"),
        (
            "path,label\npics/happy0.png,happy\npics/happy0.png,sad\n",
            r"line 3 has pics/happy0\.png as sad of train, and a line before it as happy of train",
        ),
        (
            "path,label\npics/happy0.png,happy\npics/none.png,sad\n",
            r"lists 1 pictures .* pics/none\.png",
        ),
        ("path,label\npics/happy0.png,\n", "line 2 lacks its label"),
        ("path,label\npics/happy0.png\n", "line 2 has 1 fields"),
        ("path,label,split\npics/happy0.png,happy,later\n", "line 2 has the split 'later'"),
        ("path,label,x,y,w,h\npics/happy0.png,happy,a,b,c,d\n", "line 2 has the box 'a b c d'"),
        ("path,label,x,y,w,h\npics/happy0.png,happy,1,1,0,5\n", "line 2 has the box .* is empty"),
        ("one,two,three\n1,2,3\n", "neither a list of pictures nor a table of FER2013"),
    ],
)
def test_a_list_that_does_not_fit_is_told_with_its_line(
    text: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        load(write_list(tmp_path, text), "train")


def test_a_box_outside_of_its_picture_is_named(tmp_path: Path) -> None:
    rows = [f"{row},300,300,20,20" for row in ROWS]
    path = write_list(tmp_path, "path,label,x,y,w,h\n" + "\n".join(rows))
    with pytest.raises(DataError, match=r"happy0\.png|angry0\.png.* lies outside"):
        load(path, "train")


@pytest.mark.parametrize("spelled", ["{}.0", "0{}"])
def test_a_number_may_be_spelled_otherwise(spelled: str, tmp_path: Path) -> None:
    rows = [f"pics/{name}0.png,{spelled.format(n)}" for n, name in enumerate(LABELS)]
    path = write_list(tmp_path, "\n".join(["path,label", *rows]))
    names = ",".join(f"{n}={name}" for n, name in enumerate(LABELS))
    assert load(DataSource(path, names), "train").labels.tolist() == list(range(7))
