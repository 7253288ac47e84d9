"""Soft labels from FER+ votes, and class priors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fer_edge import LABELS
from fer_edge.errors import DataError
from fer_edge.evaluation.fer2013 import LabelledCrops
from fer_train.targets import log_priors, read_votes, soft_targets

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
    shares = dict(zip(LABELS, read_votes(path)["Training_1.jpg"].tolist(), strict=True))
    expected = {"neutral": 0.1, "happy": 0.2, "surprise": 0.3, "sad": 0.4}
    assert shares == pytest.approx({name: expected.get(name, 0.0) for name in LABELS})


def test_a_picture_that_few_could_read_has_no_votes(tmp_path: Path) -> None:
    path = votes_file(tmp_path, "train/happy/Training_1.jpg,4,0,0,0,0,0,0,3,2,1")
    assert read_votes(path) == {}


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
    with pytest.raises(DataError, match="none of the 1 voted pictures"):
        soft_targets(crops, read_votes(path), 0.25)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "emotion,pixels\n1,2\n",
        HEADER + "a,x,0,0,0,0,0,0,0,0,0\n",
        HEADER + "a,1\n",
        HEADER + "a,-1,0,0,0,0,0,0,0,0,0\n",
        HEADER + "a,nan,0,0,0,0,0,0,0,0,0\n",
        HEADER + "a,3e38,3e38,0,0,0,0,0,0,0,0\n",
        HEADER + "a,1000001,0,0,0,0,0,0,0,0,0\n",
    ],
)
def test_a_file_that_is_no_table_of_votes_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "votes.csv"
    path.write_text(content)
    with pytest.raises(DataError, match="no table of FER"):
        read_votes(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no table of FER"):
        read_votes(tmp_path / "no.csv")


def test_log_priors_are_those_of_the_labels() -> None:
    labels = np.repeat(np.arange(7), [10, 1, 9, 20, 15, 8, 12])
    crops = LabelledCrops(np.zeros((75, 1, 1), np.uint8), labels, ("",) * 75)
    priors = np.exp(log_priors(crops))
    assert priors.sum() == pytest.approx(1)
    np.testing.assert_allclose(priors[1], 2 / 82, rtol=1e-5)
