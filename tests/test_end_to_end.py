"""The whole path: an archive, two epochs, an export, and the same answer as torch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from fer_bench.cli import main as fer_bench
from fer_edge import Predictor
from fer_edge.evaluation import fer2013
from fer_edge.evaluation.metrics import softmax
from fer_edge.torch_model import checkpoint
from fer_edge.torch_model.network import Normalized
from fer_export.cli import main as fer_export
from fer_train.cli import main as fer_train

TRAIN_PER_CLASS, TEST_PER_CLASS = 8, 4


@pytest.fixture(scope="module")
def run(make_fer2013, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: ANN001
    """A folder with ``data.zip``, a finished training in ``run`` and its export in ``dist``."""
    folder = tmp_path_factory.mktemp("end-to-end")
    data = make_fer2013(folder / "data.zip", TRAIN_PER_CLASS, TEST_PER_CLASS)
    command = ["--data", str(data), "--model", "mobilenet", "--epochs", "2", "--batch-size", "32"]
    assert fer_train([*command, "--out", str(folder / "run")]) == 0
    weights = str(folder / "run" / "best.safetensors")
    command = ["--weights", weights, "--data", str(data), "--out", str(folder / "dist")]
    assert fer_export(command) == 0
    return folder


def test_the_predictor_gives_the_answers_of_torch(run: Path) -> None:
    network, spec = checkpoint.load(run / "run" / "best.safetensors")
    crops = fer2013.load(run / "data.zip", "public-test").images
    with torch.no_grad():
        logits = Normalized(network, spec)(torch.from_numpy(crops)[:, None]).numpy()
    with Predictor(run / "dist") as fer:
        given = np.stack([p.probabilities for p in fer.predict_batch(list(crops))])
    np.testing.assert_allclose(given, softmax(logits, spec.temperature), atol=1e-4)


def test_training_leaves_everything_that_it_promises(run: Path) -> None:
    files = {path.name for path in (run / "run").iterdir()}
    assert files == {
        "best.safetensors",
        "last.safetensors",
        "metrics.jsonl",
        "report.json",
        "curves.png",
        "confusion.png",
        "errors.png",
        "tensorboard",
    }
    lines = (run / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]


def test_report_bench_and_manifest_name_the_same_accuracy(run: Path) -> None:
    report = json.loads((run / "run" / "report.json").read_text())
    manifest = json.loads((run / "dist" / "manifest.json").read_text())
    result = run / "accuracy.json"
    command = ["accuracy", str(run / "dist"), "--data", str(run / "data.zip")]
    assert fer_bench([*command, "--json", str(result)]) == 0
    (measured,) = json.loads(result.read_text())["results"]
    assert measured["n"] == 7 * TEST_PER_CLASS
    assert measured["accuracy"] == report["scores"]["accuracy"]
    assert measured["accuracy"] == manifest["artifacts"][0]["measured"][0]["accuracy"]["accuracy"]


def test_the_spec_names_its_training_and_its_data(run: Path) -> None:
    report = json.loads((run / "run" / "report.json").read_text())
    with Predictor(run / "dist") as fer:
        provenance = fer.info.spec.provenance
    assert provenance.training_run == report["training_run"]
    assert provenance.data_sha256 == report["data_sha256"]


def test_a_finished_training_is_not_run_again(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (run / "run" / "metrics.jsonl").read_text()
    command = ["--data", str(run / "data.zip"), "--epochs", "2", "--batch-size", "32"]
    assert fer_train([*command, "--out", str(run / "run")]) == 0
    assert "continuing after epoch 2 of 2" in capsys.readouterr().err
    assert (run / "run" / "metrics.jsonl").read_text() == before


def test_a_run_of_another_recipe_is_left_alone(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in (run / "run").rglob("*") if path.is_file()}
    command = ["--data", str(run / "data.zip"), "--epochs", "3", "--batch-size", "32"]
    assert fer_train([*command, "--out", str(run / "run")]) == 2
    assert "another recipe or other data" in capsys.readouterr().err
    after = {path: path.read_bytes() for path in before}
    assert after == before
