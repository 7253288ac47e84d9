"""fer-train data: what is shown of a data set before a training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_fer2013 import FORMS, made

from fer_edge.evaluation.data_source import DataSource
from fer_train.cli import main
from fer_train.inventory import take_inventory


def picture(seed: int, height: int = 60, width: int = 60) -> np.ndarray:
    rng = np.random.default_rng(seed)
    low = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return cv2.resize(low, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two classes in two halves; one picture is copied, one nearly so, and one is broken."""
    seed = 0
    for half, count in (("train", 4), ("val", 2)):
        for name in ("bored", "alert"):
            folder = tmp_path / "data" / half / name
            folder.mkdir(parents=True)
            for number in range(count):
                seed += 1
                cv2.imwrite(str(folder / f"{number}.png"), picture(seed))
    train, val = tmp_path / "data/train", tmp_path / "data/val"
    shutil.copy(train / "bored/0.png", val / "bored/copy.png")
    near = cv2.resize(cv2.imread(str(train / "alert/0.png")), (90, 80))
    cv2.imwrite(str(val / "alert/near.png"), near)
    (train / "bored/broken.png").write_bytes((train / "bored/0.png").read_bytes()[:-40])
    return tmp_path / "data"


def test_everything_that_is_found_is_shown(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told, sheet = tmp_path / "told.json", tmp_path / "sheet.png"
    given = ["--classes", "bored,alert", "--json", str(told), "--sheet", str(sheet)]
    assert main(["data", str(data), *given]) == 0
    found = json.loads(told.read_text())
    assert found["counts"] == {
        "train": {"alert": 4, "bored": 4},
        "public-test": {"alert": 3, "bored": 3},
    }
    assert found["sizes"] == {"60 x 60": 13, "90 x 80": 1}
    assert found["colours"] == {"colour": 14}
    assert (found["copies"], found["near_copies"]) == (1, 2)
    assert len(found["unreadable"]) == 1
    assert "train/bored/broken.png" in capsys.readouterr().out
    drawn = cv2.imread(str(sheet))
    assert drawn.shape[0] == 2 * 72
    assert (drawn != 255).any()


def test_classes_without_a_name_are_shown_with_what_to_write(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", str(data)]) == 0
    said = capsys.readouterr().out
    assert "bored" in said
    assert '--classes "alert,bored"' in said


@pytest.mark.parametrize("form", ["zip", "fer2013.csv"])
def test_fer2013_is_shown_as_well(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", str(FORMS[form](tmp_path, made()))]) == 0
    said = capsys.readouterr().out
    assert "48 x 48 (42)" in said
    assert "gray (42)" in said


def test_another_data_set_to_select_on_is_looked_at_too(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = data.parent / "other"
    shutil.move(data / "val", other)
    given = ["--classes", "bored,alert", "--validation", str(other)]
    assert main(["data", str(data), *given]) == 0
    assert "validation" in capsys.readouterr().out.splitlines()[0]


def test_of_another_data_set_only_what_is_selected_on_is_counted(tmp_path: Path) -> None:
    path = FORMS["fer2013.csv"](tmp_path, made())
    found = take_inventory(DataSource(path, validation=path))
    assert sum(found.counts["validation"].values()) == 14


def test_what_cannot_be_placed_is_one_line(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "holdout" / "bored").mkdir(parents=True)
    shutil.copy(data / "train/bored/0.png", data / "holdout/bored/0.png")
    assert main(["data", str(data)]) == 2
    assert "holdout stands beside" in capsys.readouterr().err
