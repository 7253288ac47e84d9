"""Rows of a CSV."""

from __future__ import annotations

import tracemalloc
import zipfile
from pathlib import Path

import pytest
from made_fer2013 import noise, spelled, table, write_file, write_zip

from fer_edge.errors import DataError
from fer_edge.evaluation import fer2013, pixel_tables
from fer_edge.evaluation.fer2013 import load


def row(**changes: object) -> tuple[object, ...]:
    values = {"emotion": 3, "pixels": spelled(noise(0)), "Usage": "Training", **changes}
    return tuple(values.values())


def written(tmp_path: Path, *rows: tuple[object, ...]) -> Path:
    return write_file(tmp_path / "fer2013.csv", table(("emotion", "pixels", "Usage"), rows))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (row(emotion=7), "has the emotion '7'; expected 0, .*--classes .*6=neutral,7=NAME"),
        (row(emotion=-1), "has the emotion '-1'; expected 0, 1"),
        (row(emotion="bored"), "has the emotion 'bored'"),
        (row(Usage="holdout"), "has the Usage 'holdout'; expected Training, PublicTest"),
        (row(pixels=spelled(noise(0)[:, :47])), "has 2256 pixels instead of 2304"),
        (row(pixels=""), "has 0 pixels instead of 2304"),
        (
            row(pixels="256 " + spelled(noise(0))[2:]),
            "has the pixel '256', no number from 0 to 255",
        ),
        (row(pixels="-1 " + spelled(noise(0))[2:]), "has the pixel '-1', no number from 0 to 255"),
        (row(pixels="x " + spelled(noise(0))[2:]), "has the pixel 'x', no number from 0 to 255"),
        (row(pixels="1.5 " + spelled(noise(0))[2:]), "has the pixel '1.5', no number"),
        ((3, "0 0"), "has 2 fields; expected 3"),
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
    with pytest.raises(DataError, match="Usage 'holdout'"):
        load(written(tmp_path, row(Usage="holdout")), "public-test")


@pytest.mark.parametrize("emotion", ["3.0", "happy", "Happiness"])
def test_an_emotion_may_be_a_name_or_a_number_as_pandas_writes_it(
    emotion: str, tmp_path: Path
) -> None:
    assert load(written(tmp_path, row(emotion=emotion)), "train").labels == [3]


@pytest.mark.parametrize("usage", ["training", "Train", "TRAINING"])
def test_usages_are_called_as_halves_are(usage: str, tmp_path: Path) -> None:
    path = written(tmp_path, row(Usage=usage), row(Usage="Validation"))
    assert (len(load(path, "train")), len(load(path, "public-test"))) == (1, 1)


def test_without_usages_all_is_for_training_and_a_note_says_so(tmp_path: Path) -> None:
    path = write_file(tmp_path / "train.csv", table(("emotion", "pixels"), [row()[:2]]))
    crops = load(path, "train")
    assert len(crops) == 1
    assert crops.notes == (f"{path} has no column Usage: all is for training",)
    with pytest.raises(DataError, match="--validation FOLDER or --validation-share"):
        load(path, "public-test")


@pytest.mark.parametrize("start", [b"PK\3\4", b"\x1f\x8b\x08\0"])
def test_a_packed_table_is_told(start: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is packed or a spreadsheet; expected text"):
        load(write_file(tmp_path / "fer2013.csv", start + bytes(99)), "train")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty; expected the columns emotion, pixels"),
        (b"emotion,Usage\n1,Training\n", "lacks the columns pixels"),
        ("emotion,pixels,Usage\n".encode("utf-16"), "is text in UTF-16; expected UTF-8"),
        ("emotion,pixels,Usage\n".encode("utf-32"), "is text in UTF-32; .*iconv -f UTF-32"),
        (b"emotion,pixels,Usage\n\xff,,\n", "is not a readable CSV file"),
        (b'emotion,pixels,Usage\n3,"' + b"1 " * 100_000, "line 2 is longer than"),
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


def test_a_line_that_no_row_of_fer2013_has_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = written(tmp_path, row())
    path.write_bytes(path.read_bytes() + b"7" * 70_000)
    with pytest.raises(DataError, match="line 3 is longer than 65,536 characters"):
        load(path, "train")


def test_a_line_of_many_megabytes_in_an_archive_takes_little(tmp_path: Path) -> None:
    path = tmp_path / "fer2013.zip"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("fer2013.csv", "w") as stream,
    ):
        stream.write(b"emotion,pixels,Usage\n3,")
        for _ in range(16):
            stream.write(b"7" * (1 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"fer2013\.csv line 2 is longer than"):
            load(path, "train")
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_a_field_over_many_lines_is_no_row(tmp_path: Path) -> None:
    path = written(tmp_path, row())
    path.write_bytes(path.read_bytes() + b'3,"1\n2\n3",Training\n')
    with pytest.raises(DataError, match="line 3 has 2 fields"):
        load(path, "train")


def test_more_rows_than_are_read_at_once_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixel_tables, "MAX_PICTURES", 2)
    assert len(load(written(tmp_path, row(), row()), "train")) == 2
    with pytest.raises(DataError, match="has more than 2 rows, the most that are read at once"):
        load(written(tmp_path, row(), row(), row()), "train")


def test_more_pictures_than_are_read_at_once_are_refused(
    tiny_fer2013: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fer2013, "MAX_PICTURES", 2)
    with pytest.raises(DataError, match="pictures of train, and 2 are the most"):
        load(tiny_fer2013, "train")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_that_cannot_be_unpacked_by_pieces_is_refused(
    method: int, tmp_path: Path
) -> None:
    path = tmp_path / "fer2013.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("fer2013.csv", written(tmp_path, row()).read_bytes())
    with pytest.raises(DataError, match=r"'fer2013\.csv' is neither stored nor deflated"):
        load(path, "train")
