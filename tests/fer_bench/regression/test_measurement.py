"""Probes, agreement and the ratio of latencies."""

from __future__ import annotations

import hashlib
import time
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from fer_bench.regression.evaluation import load_data
from fer_bench.regression.measurement import compare, latency_ratio
from fer_bench.regression.probes import RECORDED, drawn_face, probes
from fer_edge.artifacts.spec import InputSpec
from fer_edge.predictor import Predictor

SURE, UNSURE = np.eye(7)[[3]], np.full((1, 7), 1 / 7)


def test_drawings_are_the_same_everywhere() -> None:
    """Recorded answers would mean nothing otherwise."""
    drawn = np.stack([drawn_face(seed) for seed in range(20)])
    assert (drawn.shape, drawn.dtype) == ((20, 96, 96, 3), np.uint8)
    assert (
        hashlib.sha256(drawn.tobytes()).hexdigest()
        == "d329b4d5d0bcb5637150b5d1b7823363c5aa7d1a8a17a150474da1c8edbd7d59"
    )


def test_drawings_are_coloured_and_differ() -> None:
    drawn = [face.astype(int) for face in probes().values() if face.shape == (96, 96, 3)]
    assert len({face.tobytes() for face in drawn}) == len(drawn) == 64
    gaps = [np.abs(face[:, :, 0] - face[:, :, 2]).mean() for face in drawn]
    assert np.mean(gaps) > 20


def test_the_recorded_probes_come_first() -> None:
    pytest.importorskip("skimage", reason="no scikit-image, whose portraits are used")
    first = list(probes())[:RECORDED]
    assert first[: RECORDED // 2] == [f"drawing-{number:03d}" for number in range(8)]
    assert first[RECORDED // 2 :] == ["astronaut", *(f"lfw-{number:03d}" for number in range(7))]


def test_without_scikit_image_the_drawings_remain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert len(probes()) == 64


def test_the_same_answers_agree() -> None:
    found = compare(SURE, SURE)
    assert (found.top1, found.mean_kl, found.max_difference) == (1, 0, 0)


def test_other_answers_do_not() -> None:
    found = compare(SURE, UNSURE)
    assert found.mean_kl == pytest.approx(np.log(7))
    assert found.max_difference == pytest.approx(6 / 7)
    assert compare(SURE, np.eye(7)[[2]]).top1 == 0


def test_a_tie_that_rounding_decides_agrees() -> None:
    tied = np.array([[0.5, 0.5 - 1e-6, 0, 0, 0, 0, 1e-6]])
    assert compare(tied, tied[:, [1, 0, 2, 3, 4, 5, 6]]).top1 == 1


def test_answers_that_are_no_numbers_never_agree() -> None:
    found = compare(SURE, np.full((1, 7), np.nan))
    assert not found.max_difference <= 1e9
    assert not found.mean_kl <= 1e9


def _sleeper(seconds: float) -> Predictor:
    spec = SimpleNamespace(input=InputSpec(48, 48))
    return cast(
        "Predictor",
        SimpleNamespace(
            info=SimpleNamespace(spec=spec), predict_tensor=lambda _: time.sleep(seconds)
        ),
    )


def test_the_ratio_of_latencies_is_that_of_the_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fer_bench.regression.measurement._BUDGET_S", 0.3)
    assert latency_ratio(_sleeper(0.004), _sleeper(0.001)) == pytest.approx(4, rel=0.5)


def test_pictures_have_an_order_of_their_own(tmp_path: Any, workbench: Any) -> None:
    """A CSV has them in another order than a zip, and the bits of a baseline mean the same."""
    read = load_data(workbench.data, "public-test")
    lines = [
        f'{label},"{" ".join(map(str, image.ravel()))}",PublicTest'
        for image, label in zip(read.crops.images, read.crops.labels, strict=True)
    ]
    np.random.default_rng(0).shuffle(lines)
    table = tmp_path / "fer2013.csv"
    table.write_text("\n".join(["emotion,pixels,Usage", *lines]))
    again = load_data(table, "public-test")
    assert again.sha256 == read.sha256
    np.testing.assert_array_equal(again.crops.images, read.crops.images)
    np.testing.assert_array_equal(again.crops.labels, read.crops.labels)
