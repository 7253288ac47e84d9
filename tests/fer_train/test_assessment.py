"""What a report says of a checkpoint, against numbers that are worked out here by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from made_fer2013 import noise, png, write_zip
from torch import nn

from fer_edge import LABELS
from fer_edge.artifacts.spec import InputSpec, ModelSpec, NetworkSpec, Provenance
from fer_edge.errors import ArtifactError
from fer_edge.evaluation.fer2013 import LabelledCrops
from fer_edge.torch_model import checkpoint
from fer_edge.torch_model.network import build
from fer_train.assessment import Report, assess
from fer_train.data import prepare
from fer_train.presets import PRESETS

SPEC = ModelSpec(
    NetworkSpec("test_efficientnet"), InputSpec(48, 48), provenance=Provenance(training_run="a-run")
)

MIRRORED = 100
"""A picture has its number in its left upper corner, and that plus this in the right one."""

LABEL = (0, 1, 2, 3, 4, 5, 6, 3)

ANSWERS = {
    # upright: 0 to 3 and 5 are right, five of eight; 0 also stands in the training split
    **{number: (LABEL[number], 0.9) for number in (0, 1, 2, 3)},
    4: (0, 0.9),
    5: (5, 0.5),
    6: (0, 0.5),
    7: (0, 0.5),
    # mirrored: surer of the truth in 4 and 6, surer of something else in 3
    **{MIRRORED + number: (LABEL[number], 0.9) for number in (0, 1, 2)},
    MIRRORED + 3: (0, 0.95),
    MIRRORED + 4: (4, 0.95),
    MIRRORED + 5: (5, 0.5),
    MIRRORED + 6: (6, 0.9),
    MIRRORED + 7: (0, 0.5),
}
"""Class and confidence by the number in the left upper corner; the rest is shared evenly."""


def answer(_network: nn.Module, _spec: ModelSpec, crops: LabelledCrops) -> npt.NDArray[np.float32]:
    """Stand in for a network."""
    logits = np.empty((len(crops), len(LABELS)), np.float32)
    for row, picture in zip(logits, crops.images, strict=True):
        label, confidence = ANSWERS[int(picture[0, 0])]
        row[:] = np.log((1 - confidence) / 6)
        row[label] = np.log(confidence)
    return logits


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pictures to select on; the first also stands in the training split, as a copy."""

    def encoded(number: int) -> bytes:
        picture = noise(number)
        picture[0, -1] = MIRRORED + number
        return png(picture)

    files = {f"train/{name}/Training_{k}.png": encoded(50 + k) for k, name in enumerate(LABELS)}
    files |= {f"test/{LABELS[k]}/PublicTest_{n}.png": encoded(n) for n, k in enumerate(LABEL)}
    files[f"train/{LABELS[LABEL[0]]}/Training_copy.png"] = encoded(0)
    return write_zip(tmp_path_factory.mktemp("data") / "noise.zip", files)


@pytest.fixture
def report(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Report:
    torch.manual_seed(0)
    path = tmp_path / "best.safetensors"
    checkpoint.save(path, build(SPEC).state_dict(), SPEC)
    monkeypatch.setattr("fer_train.assessment.logits_of", answer)
    return assess(path, PRESETS["mobilenet"], prepare(data))[0]


def test_accuracy_is_of_all_pictures_and_without_copies_of_the_others(report: Report) -> None:
    assert report.left_out["copies of a test picture"] == 1
    assert report.scores.accuracy == 5 / 8
    alone = report.scores_without_copies
    assert alone is not None
    assert (report.scores.n, alone.n) == (8, 7)
    assert alone.accuracy == 4 / 7


def test_flip_averaging_takes_the_mean_of_both_views(report: Report) -> None:
    """Picture 3 is lost, 4 and 6 are won."""
    assert report.flip_averaged.accuracy == 6 / 8
    assert report.flip_averaged_without_copies is not None
    assert report.flip_averaged_without_copies.accuracy == 5 / 7


def test_calibration_before_scaling_is_of_the_confidences_as_they_are(report: Report) -> None:
    """Of five at 0.9 four are right, of three at 0.5 one."""
    expected = 5 / 8 * abs(0.9 - 4 / 5) + 3 / 8 * abs(0.5 - 1 / 3)
    assert report.ece_before_scaling == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", [None, "../../escaped"])
def test_a_checkpoint_that_names_no_training_is_refused(
    name: str | None, data: Path, tmp_path: Path
) -> None:
    path = tmp_path / "best.safetensors"
    spec = replace(SPEC, provenance=Provenance(training_run=name))
    checkpoint.save(path, build(spec).state_dict(), spec)
    with pytest.raises(ArtifactError, match="a report cannot have that name"):
        assess(path, PRESETS["mobilenet"], prepare(data))
