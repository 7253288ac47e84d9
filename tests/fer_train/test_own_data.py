"""Training on pictures of one's own: other classes, in colour, of any size."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_edge.evaluation.data_source import DataSource
from fer_edge.images.synthetic import synthetic_crops
from fer_edge.torch_model import checkpoint
from fer_train.cli import main

pytestmark = pytest.mark.usefixtures("no_pictures")

CLASSES = ("bored", "alert", "happy")


def write_pictures(folder: Path, classes: Iterable[str], count: int, start: int = 0) -> Path:
    """Drawings of 90 x 100 pixels, each class in a colour of its own."""
    for place, name in enumerate(classes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        drawn = synthetic_crops(start + count)[start:]
        for number, crop in enumerate(drawn):
            picture = cv2.resize(crop, (100, 90))
            picture[..., place] //= 4
            cv2.imwrite(str(folder / name / f"S{number % 5}_{number}.png"), picture)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pictures", CLASSES, 10)


def train(data: Path, recipe: Path, out: Path, *more: str) -> int:
    return main(["--data", str(data), "--recipe", str(recipe), "--out", str(out), *more])


COLOUR = """
[input]
height = 32
width = 32
color = "rgb"
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]
"""
SHARE = ("--classes", ",".join(CLASSES), "--validation-share", "0.2", "--subject", "(S[0-9]+)_")


def test_a_model_of_own_classes_is_trained(
    data: Path, recipe: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(data, recipe(COLOUR, epochs=1), tmp_path / "run", *SHARE) == 0
    said = capsys.readouterr().err
    assert "bored 8 + 2, alert 8 + 2, happy 8 + 2" in said
    assert "selecting on 6 training pictures, 20% of each class, drawn with the seed 0" in said
    assert "by person ((S[0-9]+)_)" in said
    assert "test_efficientnet sees 32 x 32 pixels, in colour" in said
    assert "pictures to select on are nearly the same as a training picture" in said
    spec = checkpoint.read_spec(tmp_path / "run" / "best.safetensors")
    assert (spec.labels, spec.input.shape) == (CLASSES, (32, 32, 3))
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert list(report["scores"]["per_class"]) == list(CLASSES)


def test_a_teacher_of_other_classes_is_refused(
    data: Path, recipe: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(data, recipe(COLOUR, epochs=1), tmp_path / "run", *SHARE) == 0
    teacher = ("--teacher", str(tmp_path / "run" / "best.safetensors"))
    other = ("--classes", "alert,bored,happy", "--validation-share", "0.2")
    assert train(data, recipe(COLOUR), tmp_path / "student", *other, *teacher) == 2
    given = ["--data", str(data), "--recipe", str(recipe(COLOUR)), "--out", str(tmp_path / "t")]
    assert main(["teach", *given, *other, *teacher]) == 2
    said = "answers with bored, alert, happy, and the data is of alert, bored, happy"
    assert capsys.readouterr().err.count(said) == 2


def test_another_folder_can_be_selected_on(
    data: Path, recipe: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_pictures(tmp_path / "others", CLASSES, 3, start=20)
    given = ("--classes", ",".join(CLASSES), "--validation", str(other), "--limit", "15")
    assert train(data, recipe(COLOUR, epochs=1), tmp_path / "run", *given) == 0
    said = capsys.readouterr().err
    assert "bored 5 + 3, alert 5 + 3, happy 5 + 3" in said
    assert f"selecting on {other}" in said


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--classes", "bored,alert"), "has the class 'happy', which --classes does not name"),
        (("--classes", "bored,alert,happy"), "--validation FOLDER or --validation-share 0.1"),
        ((*SHARE, "--subject", "(P[0-9]+)"), "does not match"),
        (("--classes", "bored,alert,happy,9=sad"), "'9', and .* has no such class"),
    ],
)
def test_what_does_not_fit_is_one_line_and_exit_code_2(
    given: tuple[str, ...],
    message: str,
    data: Path,
    recipe: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert train(data, recipe(COLOUR, epochs=1), data.parent / "run", *given) == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    assert re.search(message, said)


def test_a_second_data_set_is_refused(
    data: Path, recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        train(data, recipe(), data.parent / "run", "--data", str(data))
    assert "give --data once" in capsys.readouterr().err


def test_classes_of_one_half_only_are_named(
    data: Path, recipe: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_pictures(tmp_path / "others", CLASSES[:2], 3, start=20)
    given = ("--classes", ",".join(CLASSES), "--validation", str(other))
    assert train(data, recipe(COLOUR, epochs=1), tmp_path / "run", *given) == 2
    assert "happy" in capsys.readouterr().err


def test_colours_reach_the_network_as_a_predictor_sends_them(data: Path) -> None:
    import torch

    from fer_edge.artifacts.spec import InputSpec
    from fer_edge.evaluation.fer2013 import load
    from fer_edge.images.preprocess import preprocess_all
    from fer_train.evaluation import planes

    wanted = InputSpec(32, 32, "rgb", (0.5,) * 3, (0.5,) * 3)
    crops = load(DataSource(data, ",".join(CLASSES)), "train", wanted=wanted)
    files = [cv2.imread(str(data / name)) for name in crops.names]
    sent = preprocess_all(files, wanted).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(planes(torch.from_numpy(crops.images)).numpy(), sent)
