"""Calibration methods, and that odd crops do not move them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from fer_calib.comparison import compare
from fer_calib.control import Prepared, control
from fer_calib.crops import Crops
from fer_calib.observation import Observation, TensorRecord, observe, outliers_of
from fer_calib.quantisation import quantize
from fer_calib.ranges import METHODS, ranges
from fer_calib.running import logits_of
from fer_calib.sensitivity import Sensitivity
from fer_calib.smoothing import Smoothing
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.errors import ConfigurationError

PLANTED = (40, 41, 400)


def record(values: np.ndarray) -> TensorRecord:
    values = values.astype(np.float32)
    return TensorRecord(values.min(axis=1), values.max(axis=1), values)


def range_of(values: np.ndarray, method: str) -> tuple[float, float]:
    return ranges(Observation({"t": record(values)}, ()), method)["t"]


@pytest.fixture(scope="module")
def normal() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1, (512, 1000))


# --- the methods


def test_min_max_spans_everything(normal: np.ndarray) -> None:
    low, high = range_of(normal, "min-max")
    assert (low, high) == pytest.approx((normal.min(), normal.max()))


def test_averaged_min_max_spans_the_mean_extremes_of_a_crop(normal: np.ndarray) -> None:
    expected = (normal.min(axis=1).mean(), normal.max(axis=1).mean())
    assert range_of(normal, "averaged-min-max") == pytest.approx(expected)


def test_percentile_leaves_out_one_value_in_10000_at_either_end(normal: np.ndarray) -> None:
    low, high = range_of(normal, "percentile")
    assert (normal > high).mean() == pytest.approx(1e-4, rel=0.1)
    assert (normal < low).mean() == pytest.approx(1e-4, rel=0.1)


def test_entropy_clips_a_long_tail_and_leaves_a_short_one(normal: np.ndarray) -> None:
    heavy = np.random.default_rng(0).standard_t(3, (512, 1000))
    assert range_of(heavy, "entropy")[1] < 0.5 * heavy.max()
    uniform = np.random.default_rng(0).uniform(0, 1, (512, 1000))
    assert range_of(uniform, "entropy")[1] > 0.9


@pytest.mark.parametrize("method", METHODS)
def test_a_range_holds_zero(method: str) -> None:
    assert range_of(np.full((64, 10), 5.0), method)[0] == 0
    assert range_of(np.full((64, 10), -5.0), method)[1] == 0


@pytest.mark.parametrize("method", METHODS)
def test_a_relu_keeps_its_bottom_at_zero(method: str, normal: np.ndarray) -> None:
    low, high = range_of(np.maximum(normal, 0), method)
    assert low == 0
    assert 2.5 < high < 5.5


@pytest.mark.parametrize("method", METHODS)
def test_a_tensor_that_is_seldom_active_keeps_its_activity(method: str) -> None:
    values = np.zeros((512, 1000))
    values[7, 3] = 2.0
    assert range_of(values, method)[1] > 0


def test_an_unknown_method_is_told_with_those_that_there_are(normal: np.ndarray) -> None:
    with pytest.raises(ConfigurationError, match="'max'; there are min-max, averaged-min-max"):
        range_of(normal, "max")


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
    values = np.ones((100, 4), np.float32)
    values[3, 1] = np.nan
    assert found_in(record(values).peaks) == [3]


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
    sizes = np.abs(logits_of(explosive_cnn, planted)).max(axis=1)
    others = np.delete(sizes, PLANTED)
    assert sizes[list(PLANTED)].min() > 100 * others.max()


def test_the_planted_crops_are_found(
    observations: tuple[Observation, Observation],
) -> None:
    without, with_them = observations
    assert set(PLANTED) <= set(with_them.outliers)
    assert not set(PLANTED) & set(without.outliers)


@pytest.mark.parametrize("method", METHODS)
def test_three_outliers_among_512_do_not_move_a_range(
    method: str, observations: tuple[Observation, Observation]
) -> None:
    without, with_them = (ranges(found, method) for found in observations)
    for name, (low, high) in without.items():
        assert with_them[name][0] == pytest.approx(low, rel=0.05, abs=0.02), name
        assert with_them[name][1] == pytest.approx(high, rel=0.05, abs=0.02), name


@pytest.mark.parametrize("method", METHODS)
def test_three_outliers_among_512_do_not_spoil_the_answers(
    method: str,
    explosive_cnn: onnx.ModelProto,
    clean: Crops,
    observations: tuple[Observation, Observation],
) -> None:
    model = quantize(explosive_cnn, observations[1], "canonical", method=method)
    found = compare(logits_of(explosive_cnn, clean), logits_of(model, clean), clean)
    assert found.agreement >= 0.99
    assert found.mean_kl <= 0.05


def test_nncf_is_not_given_the_outliers(
    explosive_cnn: onnx.ModelProto, planted: Crops, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Crops] = []

    def note(core: onnx.ModelProto, crops: Crops, **_: object) -> onnx.ModelProto:
        seen.append(crops)
        return core

    monkeypatch.setattr("fer_calib.control.quantize_with_nncf", note)
    smoothing = Smoothing(explosive_cnn, observe(explosive_cnn, planted), None, ())
    costs, few = Sensitivity("canonical", "entropy", 16, "drawings", ()), planted.thin(16)
    control(Prepared(explosive_cnn, smoothing, costs, planted, few, "entropy"), "nncf")
    assert len(seen[0]) <= len(planted) - len(PLANTED)
    assert not any((seen[0].tensors == planted.tensors[at]).all((1, 2, 3)).any() for at in PLANTED)


def test_without_that_rule_they_would(
    explosive_cnn: onnx.ModelProto,
    clean: Crops,
    planted: Crops,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "fer_calib.observation.outliers_of", lambda peaks: np.zeros(peaks.shape[1], np.bool_)
    )
    model = quantize(explosive_cnn, planted, "canonical", method="min-max")
    found = compare(logits_of(explosive_cnn, clean), logits_of(model, clean), clean)
    assert found.agreement < 0.8
