"""What training sees, and what it selects on."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from made_fer2013 import png

from fer_edge import LABELS
from fer_edge.errors import DataError
from fer_edge.evaluation import fer2013
from fer_edge.evaluation.fer2013 import copies_of
from fer_train.data import prepare


def add(archive: Path, member: str, pixels: np.ndarray) -> None:
    with zipfile.ZipFile(archive, "a") as stream:
        stream.writestr(member, png(pixels))


@pytest.fixture
def archive(tiny_fer2013: Path, tmp_path: Path) -> Path:
    """The drawings; one of ``public-test`` also stands in train, and a black one does."""
    path = tmp_path / "drawings.zip"
    path.write_bytes(tiny_fer2013.read_bytes())
    add(path, "train/sad/Training_black.png", np.zeros((48, 48), np.uint8))
    add(path, "train/sad/Training_copy.png", fer2013.load(path, "public-test").images[5])
    return path


def test_training_sees_neither_copies_nor_constants(archive: Path) -> None:
    data = prepare(archive)
    assert len(data.train) == 28
    assert not copies_of(data.train.images, data.validation.images).any()
    assert data.left_out == {"copies of a test picture": 1, "constant": 1}


def test_selection_is_on_the_whole_public_half(archive: Path) -> None:
    assert len(prepare(archive).validation) == 21


def test_what_also_stands_in_train_is_marked(archive: Path) -> None:
    assert np.flatnonzero(prepare(archive).copied_validation).tolist() == [5]


def test_pictures_that_are_left_out_are_not_in_the_hash(archive: Path, tiny_fer2013: Path) -> None:
    assert prepare(archive).sha256 == prepare(tiny_fer2013).sha256


@pytest.mark.parametrize("member", ["train/sad/Training_new.png", "test/sad/PublicTest_new.png"])
def test_pictures_of_both_splits_are_in_the_hash(member: str, archive: Path) -> None:
    before = prepare(archive).sha256
    add(archive, member, np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8))
    assert prepare(archive).sha256 != before


def test_without_a_public_half_there_is_nothing_to_select_on(tmp_path: Path) -> None:
    picture = np.arange(48 * 48, dtype=np.uint8).reshape(48, 48)
    for name in LABELS:
        add(tmp_path / "a.zip", f"train/{name}/Training_1.png", picture)
    with pytest.raises(DataError, match="no pictures of public-test"):
        prepare(tmp_path / "a.zip")
