"""What Predictor answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fer_edge import Prediction, Predictor
from fer_edge.images.synthetic import synthetic_crops

Image = npt.NDArray[np.uint8]
Answer = Callable[[Image], tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]

CLOSE = 1e-5


def table(predictions: list[Prediction]) -> npt.NDArray[np.float32]:
    return np.stack([prediction.probabilities for prediction in predictions])


def test_predict_gives_the_models_probabilities(
    fer: Predictor, crops: list[Image], expected: npt.NDArray[np.float64]
) -> None:
    given = table([fer.predict(crop) for crop in crops])
    assert given == pytest.approx(expected, abs=CLOSE)


def test_predict_batch_gives_the_models_probabilities(
    fer: Predictor, crops: list[Image], expected: npt.NDArray[np.float64]
) -> None:
    assert table(fer.predict_batch(crops)) == pytest.approx(expected, abs=CLOSE)


def test_a_batch_that_no_engine_could_hold_is_run_in_parts(
    fer: Predictor, crops: list[Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = table(fer.predict_batch(crops))
    monkeypatch.setattr("fer_edge.predictor.MAX_STREAM_BATCH", 2)
    assert len(crops) % 2
    assert table(fer.predict_batch(crops)) == pytest.approx(expected, abs=CLOSE)


def test_predict_tensor_gives_logits_and_probabilities(
    fer: Predictor, tensor: Image, tiny_answer: Answer
) -> None:
    for given, exact in zip(fer.predict_tensor(tensor), tiny_answer(tensor), strict=True):
        assert given.dtype == np.float32
        assert given == pytest.approx(exact, abs=1e-4)


def test_predictions_hold_float32_that_cannot_be_changed(
    fer: Predictor, crops: list[Image]
) -> None:
    for prediction in (fer.predict(crops[0]), *fer.predict_batch(crops)):
        assert prediction.probabilities.dtype == np.float32
        assert not prediction.probabilities.flags.writeable


def test_an_earlier_prediction_outlives_later_ones(fer: Predictor, crops: list[Image]) -> None:
    first = fer.predict(crops[0])
    before = first.probabilities.tolist()
    fer.predict_batch(crops)
    assert first.probabilities.tolist() == before


def test_nothing_gives_nothing(double: Any) -> None:
    assert Predictor(backend=double).predict_batch([]) == []
    assert double.batches == []


@pytest.mark.parametrize("kind", [list, tuple, iter, np.stack, lambda crops: (c for c in crops)])
def test_a_batch_may_be_any_iterable(
    double: Any, kind: Callable[[list[Image]], Any], gray: Callable[[int], Image]
) -> None:
    crops = [gray(value) for value in (3, 0, 6)]
    given = Predictor(backend=double).predict_batch(kind(crops))
    assert [p.emotion.class_index for p in given] == [3, 0, 6]


def test_a_batch_is_one_call_of_the_engine(double: Any, gray: Callable[[int], Image]) -> None:
    Predictor(backend=double).predict_batch([gray(value) for value in range(100)])
    assert [batch.shape for batch in double.batches] == [(100, 48, 48, 1)]


def test_the_backend_gets_contiguous_uint8(
    double: Any, tensor: Image, gray: Callable[[int], Image]
) -> None:
    fer = Predictor(backend=double)
    fer.predict(gray(1)[::-1])
    fer.predict_batch([gray(1)[:, ::-1]])
    fer.predict_tensor(tensor[::-2])
    assert len(double.batches) == 3
    assert all(batch.dtype == np.uint8 for batch in double.batches)
    assert all(batch.flags.c_contiguous for batch in double.batches)


def test_a_tensor_that_is_a_view_has_the_answer_of_its_copy(fer: Predictor, tensor: Image) -> None:
    view = tensor[::-2, :, ::-1]
    _, given = fer.predict_tensor(view)
    _, copied = fer.predict_tensor(view.copy())
    assert np.array_equal(given, copied)


@pytest.mark.parametrize("kind", ["gray", "rgb"])
def test_the_order_of_the_channels_is_as_the_caller_says(
    kind: str, tiny_artifact: Path, rgb_artifact: Path
) -> None:
    artifact = {"gray": tiny_artifact, "rgb": rgb_artifact}[kind]
    crop = synthetic_crops(1)[0]
    with Predictor(artifact) as bgr, Predictor(artifact, color="rgb") as rgb:
        assert table([bgr.predict(crop)]) == pytest.approx(table([rgb.predict(crop[:, :, ::-1])]))
        assert not np.allclose(table([bgr.predict(crop)]), table([rgb.predict(crop)]), atol=1e-3)
