"""Soft labels from FER+ votes, and class priors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_fer2013 import as_fer2013_csv, made

from fer_edge import LABELS
from fer_edge.errors import DataError
from fer_edge.evaluation.fer2013 import LabelledCrops, load
from fer_train.targets import Votes, log_priors, read_votes, soft_targets

HEADER = "file,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"


@pytest.fixture
def crops() -> LabelledCrops:
    """A happy and an angry picture."""
    names = ("train/happy/Training_1.jpg", "train/angry/Training_2.jpg")
    return LabelledCrops(np.zeros((2, 48, 48), np.uint8), np.array([3, 0]), names)


def votes_file(folder: Path, *rows: str) -> Path:
    path = folder / "votes.csv"
    path.write_text(HEADER + "\n".join(rows) + "\n")
    return path


def test_votes_are_in_the_order_of_our_labels(tmp_path: Path) -> None:
    path = votes_file(tmp_path, "train/happy/Training_1.jpg,1,2,3,4,0,0,0,0,0,0")
    shares = dict(zip(LABELS, read_votes(path).shares["Training_1.jpg"].tolist(), strict=True))
    expected = {"neutral": 0.1, "happy": 0.2, "surprise": 0.3, "sad": 0.4}
    assert shares == pytest.approx({name: expected.get(name, 0.0) for name in LABELS})


def test_a_picture_that_few_could_read_has_no_votes(tmp_path: Path) -> None:
    few, enough = "Training_1.jpg,4,0,0,0,0,0,0,3,2,1", "Training_2.jpg,9,0,0,0,0,0,0,0,0,1"
    assert read_votes(votes_file(tmp_path, f"{few}\n{enough}")).shares.keys() == {"Training_2.jpg"}


def test_without_votes_a_target_is_the_label(crops: LabelledCrops) -> None:
    np.testing.assert_array_equal(soft_targets(crops, None, 0.5), np.eye(7)[[3, 0]])


def test_votes_make_up_their_share_and_the_label_the_rest(
    crops: LabelledCrops, tmp_path: Path
) -> None:
    path = votes_file(tmp_path, "train/happy/Training_1.jpg,10,0,0,0,0,0,0,0,0,0")
    targets = soft_targets(crops, read_votes(path), 0.25)
    np.testing.assert_allclose(targets[0], [0, 0, 0, 0.75, 0, 0, 0.25])
    np.testing.assert_allclose(targets[1], np.eye(7)[0])


def test_votes_for_other_pictures_are_refused(crops: LabelledCrops, tmp_path: Path) -> None:
    path = votes_file(tmp_path, "train/happy/im0.jpg,10,0,0,0,0,0,0,0,0,0")
    with pytest.raises(DataError, match="has votes for none of the training pictures"):
        soft_targets(crops, read_votes(path), 0.25)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty; expected the columns anger, disgust"),
        ("emotion,pixels\n1,2\n", "lacks the columns anger, .*its first line is emotion, pixels"),
        (HEADER + "a,x,0,0,0,0,0,0,0,0,0\n", "line 2 has votes .* not numbers"),
        (HEADER + "a,1\n", "line 2 has 2 fields"),
        (HEADER + "a,0.9,0.1,0,0,0,0,0,0,0,0\n", "no line with 5 votes .* not their share"),
        (HEADER + "a,-1,0,0,0,0,0,0,0,0,0\n", "line 2 has votes .* expected 0 to 1e"),
        (HEADER + "a,nan,0,0,0,0,0,0,0,0,0\n", "line 2 has votes .* expected 0 to 1e"),
        (HEADER + "a,3e38,3e38,0,0,0,0,0,0,0,0\n", "line 2 has votes .* expected 0 to 1e"),
        (HEADER + "b/a,6,,,,,,,,,\nc/a,,6,,,,,,,,\n", "line 3 has other votes for a than a line"),
        (HEADER + "a,1000001,0,0,0,0,0,0,0,0,0\n", "line 2 has votes .* expected 0 to 1e"),
    ],
)
def test_a_file_that_is_no_table_of_votes_is_refused(
    content: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "votes.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        read_votes(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.csv: No such file"):
        read_votes(tmp_path / "no.csv")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace(",", ", "),
        lambda text: text.replace("\n", "\r\n\r\n"),
        lambda text: "\n\n" + text,
        lambda text: "\n".join(f'"{line}"'.replace(",", '" , "') for line in text.split()),
        lambda text: text + " , ,,\n",
        lambda text: text.replace("file", "Image_Path").replace("sadness", "Sad"),
        lambda text: text.replace(",0", ","),
    ],
    ids=[
        "byte-order mark",
        "spaces",
        "empty lines",
        "empty first lines",
        "spaces around quotes",
        "a line of separators",
        "other names of columns",
        "empty fields",
    ],
)
def test_votes_are_as_tolerant_as_every_table(change: Callable[[str], str], tmp_path: Path) -> None:
    path = tmp_path / "votes.csv"
    path.write_text(change(HEADER + "a.jpg,10,0,0,0,0,0,0,0,0,0\n"), newline="")
    assert list(read_votes(path).shares) == ["a.jpg"]


FERPLUS = (
    "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"
    "Training,fer0000000.png,10,0,0,0,0,0,0,0,0,0\n"
    "Training,,0,0,0,0,0,0,0,0,0,10\n"
    "PublicTest,fer0000002.png,0,10,0,0,0,0,0,0,0,0\n"
)


def test_ferplus_own_table_fits_the_rows_of_fer2013_csv(tmp_path: Path) -> None:
    (tmp_path / "fer2013new.csv").write_text(FERPLUS)
    names = tuple(f"fer2013.csv row {number}" for number in (1, 2, 3))
    crops = LabelledCrops(np.zeros((3, 48, 48), np.uint8), np.array([0, 0, 0]), names)
    votes = read_votes(tmp_path / "fer2013new.csv").of(crops)
    assert {row: LABELS[shares.argmax()] for row, shares in votes.items()} == {
        0: "neutral",
        2: "happy",
    }


@pytest.mark.parametrize(
    "table",
    [
        FERPLUS.replace("Usage,Image name", "usage,image name"),
        FERPLUS.replace("Usage", "set").replace("Image name", "number"),
        "neutral,happiness,surprise,sadness,anger,disgust,fear\n10,0,0,0,0,0,0\n",
    ],
)
def test_a_table_without_file_names_is_in_the_order_of_fer2013(table: str, tmp_path: Path) -> None:
    (tmp_path / "votes.csv").write_text(table)
    assert LABELS[read_votes(tmp_path / "votes.csv").shares[1].argmax()] == "neutral"


def rows_of_labels(labels: np.ndarray) -> LabelledCrops:
    names = tuple(f"fer2013.csv row {number}" for number in range(1, len(labels) + 1))
    return LabelledCrops(np.zeros((len(labels), 1, 1), np.uint8), labels, names)


def test_votes_in_another_order_than_the_labels_are_refused() -> None:
    labels = np.arange(70) % 7
    votes = Votes("v.csv", {n + 1: np.eye(7, dtype=np.float32)[k] for n, k in enumerate(labels)})
    assert len(votes.of(rows_of_labels(labels))) == 70
    with pytest.raises(DataError, match=r"v\.csv agrees with 10 of 70 labels"):
        votes.of(rows_of_labels(np.sort(labels)))


def test_two_pictures_of_one_name_cannot_be_told_apart() -> None:
    votes = Votes("v.csv", {"1.jpg": np.eye(7, dtype=np.float32)[0]})
    crops = LabelledCrops(np.zeros((2, 1, 1), np.uint8), np.zeros(2, int), ("a/1.jpg", "b/1.jpg"))
    with pytest.raises(DataError, match=r"a/1\.jpg and b/1\.jpg have the same one"):
        votes.of(crops)


@pytest.mark.parametrize("between", [b"\r\n", b"\r\n\r\n"])
def test_empty_lines_of_fer2013_csv_shift_no_votes(between: bytes, tmp_path: Path) -> None:
    rows = as_fer2013_csv(made(["Training", "PublicTest"])).splitlines()[:4]
    (tmp_path / "fer2013.csv").write_bytes(between.join(rows))
    (tmp_path / "fer2013new.csv").write_text(FERPLUS)
    crops = load(tmp_path / "fer2013.csv", "train")
    votes = read_votes(tmp_path / "fer2013new.csv").of(crops)
    assert {crops.names[at][-5:]: LABELS[s.argmax()] for at, s in votes.items()} == {
        "row 1": "neutral",
        "row 3": "happy",
    }


def test_votes_by_row_say_which_data_they_fit(crops: LabelledCrops, tmp_path: Path) -> None:
    (tmp_path / "fer2013new.csv").write_text(FERPLUS)
    with pytest.raises(DataError, match=r"rows of fer2013\.csv, so give that as --data"):
        soft_targets(crops, read_votes(tmp_path / "fer2013new.csv"), 0.5)


def test_contempt_has_votes_where_the_model_knows_it(tmp_path: Path) -> None:
    path = votes_file(tmp_path, "a.jpg,4,0,0,0,0,0,0,6,0,0")
    shares = read_votes(path, (*LABELS, "contempt")).shares["a.jpg"]
    np.testing.assert_allclose(shares, [0, 0, 0, 0, 0, 0, 0.4, 0.6])


def test_votes_for_classes_that_ferplus_lacks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no votes for bored"):
        read_votes(votes_file(tmp_path), ("happy", "bored"))


def test_log_priors_are_those_of_the_labels() -> None:
    labels = np.repeat(np.arange(7), [10, 1, 9, 20, 15, 8, 12])
    crops = LabelledCrops(np.zeros((75, 1, 1), np.uint8), labels, ("",) * 75)
    priors = np.exp(log_priors(crops))
    assert priors.sum() == pytest.approx(1)
    np.testing.assert_allclose(priors[1], 2 / 82, rtol=1e-5)
