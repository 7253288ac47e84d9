"""Ranges, and that odd crops do not move them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from fer_calib.crops import Crops
from fer_calib.observation import Observation, observe, outliers_of
from fer_calib.quantisation import quantize
from fer_calib.running import activations, probabilities_of
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.evaluation.agreement import agreement

PLANTED = (40, 41, 400)


# --- where a range ends


def test_a_range_spans_everything_and_zero(cnn: onnx.ModelProto, crops: Crops) -> None:
    spans = observe(cnn, crops).spans
    pixels = np.concatenate(list(crops.batches()))
    assert spans["normalized"] == pytest.approx((pixels.min(), pixels.max()))
    assert spans["stem.act"][0] == 0
    bright = Crops(crops.tensors | np.uint8(128), crops.spec)
    assert observe(cnn, bright).spans["normalized"][0] == 0
    dark = Crops(crops.tensors & np.uint8(127), crops.spec)
    assert observe(cnn, dark).spans["normalized"][1] == 0


# --- which crops count as outliers


def found_in(*peaks: np.ndarray) -> list[int]:
    """Positions of the outliers, by the peaks of each tensor."""
    stacked = np.stack(peaks).astype(np.float32)
    return [int(position) for position in np.flatnonzero(outliers_of(stacked))]


def test_crops_far_above_all_others_are_outliers() -> None:
    peaks = np.random.default_rng(0).uniform(3, 8, 512).astype(np.float32)
    assert found_in(peaks) == []
    peaks[list(PLANTED)] = 1e6, np.inf, 50
    assert found_in(peaks, np.ones(512)) == list(PLANTED)


def test_no_more_than_one_crop_in_fifty_is_an_outlier() -> None:
    peaks = np.ones(500, np.float32)
    peaks[:20] = np.arange(100, 120)
    assert found_in(peaks) == list(range(10, 20))


def test_a_tensor_that_most_crops_leave_silent_has_no_outliers() -> None:
    peaks = np.zeros(500, np.float32)
    peaks[:3] = 1
    assert found_in(peaks) == []


def test_what_is_not_a_number_is_an_outlier() -> None:
    peaks = np.ones(100)
    peaks[3] = np.nan
    assert found_in(peaks) == [3]


# --- planted outliers among 512 crops


@pytest.fixture(scope="module")
def clean(drawings: np.ndarray, tiny_spec: ModelSpec) -> Crops:
    return Crops(drawings[:, :, :, None], tiny_spec)


@pytest.fixture(scope="module")
def planted(clean: Crops) -> Crops:
    """Three of the 512 are stripes of single pixels."""
    tensors = clean.tensors.copy()
    tensors[list(PLANTED), :, ::2] = 255
    tensors[list(PLANTED), :, 1::2] = 0
    return Crops(tensors, clean.spec)


@pytest.fixture(scope="module")
def observations(
    explosive_cnn: onnx.ModelProto, clean: Crops, planted: Crops
) -> tuple[Observation, Observation]:
    return observe(explosive_cnn, clean), observe(explosive_cnn, planted)


def test_the_planted_crops_do_blow_the_network_up(
    explosive_cnn: onnx.ModelProto, planted: Crops
) -> None:
    held = activations(explosive_cnn, ["logits"], planted)
    sizes = np.concatenate([np.abs(batch["logits"]).max(axis=1) for batch in held])
    others = np.delete(sizes, PLANTED)
    assert sizes[list(PLANTED)].min() > 100 * others.max()


def test_the_planted_crops_are_found(observations: tuple[Observation, Observation]) -> None:
    without, with_them = observations
    assert set(PLANTED) <= set(with_them.outliers)
    assert not set(PLANTED) & set(without.outliers)


def test_three_outliers_among_512_do_not_move_a_range(
    observations: tuple[Observation, Observation],
) -> None:
    without, with_them = (found.spans for found in observations)
    for name, span in without.items():
        assert with_them[name] == pytest.approx(span, rel=0.05, abs=0.02), name


def test_three_outliers_among_512_do_not_spoil_the_answers(
    explosive_cnn: onnx.ModelProto, clean: Crops, observations: tuple[Observation, Observation]
) -> None:
    model = quantize(explosive_cnn, observations[1], "canonical")
    found = agreement(probabilities_of(explosive_cnn, clean), probabilities_of(model, clean))
    assert found.top1 >= 0.99
    assert found.mean_kl <= 0.05


def test_without_that_rule_they_would(
    explosive_cnn: onnx.ModelProto, clean: Crops, planted: Crops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "fer_calib.observation.outliers_of", lambda peaks: np.zeros(peaks.shape[1], np.bool_)
    )
    _, high = observe(explosive_cnn, planted).spans["stem.act"]
    _, usual = observe(explosive_cnn, clean).spans["stem.act"]
    assert high > 10 * usual
