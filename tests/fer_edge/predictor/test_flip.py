"""Averaging with the mirror image, and predictions that are marked as uncertain."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fer_edge import Emotion, InputError, Prediction, Predictor

Image = npt.NDArray[np.uint8]
Answer = Callable[[Image], tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]
MakeDouble = Callable[..., Any]


@pytest.fixture(scope="module")
def both_ways(tensor: Image, tiny_answer: Answer) -> npt.NDArray[np.float64]:
    """The mean of the model's probabilities for the crops and for their mirror images."""
    return (tiny_answer(tensor)[1] + tiny_answer(tensor[:, :, ::-1])[1]) / 2


def table(predictions: list[Prediction]) -> npt.NDArray[np.float32]:
    return np.stack([prediction.probabilities for prediction in predictions])


def test_flip_averages_with_the_mirror_image(
    fer: Predictor, crops: list[Image], both_ways: npt.NDArray[np.float64]
) -> None:
    alone = table([fer.predict(crop, flip=True) for crop in crops])
    assert alone.dtype == np.float32
    assert alone == pytest.approx(both_ways, abs=1e-5)
    assert table(fer.predict_batch(crops, flip=True)) == pytest.approx(both_ways, abs=1e-5)
    assert table(list(fer.predict_stream(crops, flip=True))) == pytest.approx(both_ways, abs=1e-5)


def test_a_crop_and_its_mirror_image_have_one_answer_with_flip(
    fer: Predictor, crops: list[Image]
) -> None:
    crop = crops[0]
    mirrored = np.ascontiguousarray(crop[:, ::-1])
    assert not np.allclose(table([fer.predict(crop)]), table([fer.predict(mirrored)]), atol=1e-2)
    given = table([fer.predict(crop, flip=True), fer.predict(mirrored, flip=True)])
    assert given[0] == pytest.approx(given[1], abs=1e-2)


def test_flip_is_one_call_of_the_engine(double: Any, crops: list[Image]) -> None:
    fer = Predictor(backend=double)
    fer.predict(crops[0], flip=True)
    fer.predict_batch(crops, flip=True)
    assert [batch.shape for batch in double.batches] == [(2, 48, 48, 1), (10, 48, 48, 1)]
    for batch in double.batches:
        assert np.array_equal(batch[1::2], batch[::2, :, ::-1])


def test_flip_is_two_calls_where_one_would_be_too_large(
    make_double: MakeDouble, crops: list[Image], tensor: Image
) -> None:
    double = make_double(max_batch=5)
    straight = Predictor(backend=make_double()).predict_batch(crops, flip=True)
    assert np.array_equal(
        table(Predictor(backend=double).predict_batch(crops, flip=True)), table(straight)
    )
    assert [len(batch) for batch in double.batches] == [5, 5]
    assert np.array_equal(double.batches[0], tensor)
    assert np.array_equal(double.batches[1], tensor[:, :, ::-1])


# ---- the largest batch


@pytest.mark.parametrize("flip", [False, True])
def test_more_crops_than_the_artifact_takes_are_refused(
    make_double: MakeDouble, crops: list[Image], flip: bool
) -> None:
    double = make_double(max_batch=4)
    fer = Predictor(backend=double)
    with pytest.raises(InputError, match=r"at most 4 crops in one call .* not 5; use predict_str"):
        fer.predict_batch(crops, flip=flip)
    assert double.batches == []
    assert len(fer.predict_batch(crops[:4], flip=flip)) == 4


def test_a_larger_tensor_than_the_artifact_takes_is_refused(
    make_double: MakeDouble, tensor: Image
) -> None:
    with pytest.raises(InputError, match="at most 4 crops in one call of this artifact, not 5"):
        Predictor(backend=make_double(max_batch=4)).predict_tensor(tensor)


def test_info_tells_the_largest_batch_and_the_concurrency(make_double: MakeDouble) -> None:
    info = Predictor(backend=make_double(concurrency=3, max_batch=4)).info
    assert (info.concurrency, info.max_batch) == (3, 4)


# ---- uncertainty


def test_a_prediction_below_the_wished_confidence_is_uncertain(
    tiny_artifact: Path, crops: list[Image]
) -> None:
    with Predictor(tiny_artifact, backend="onnxruntime") as fer:
        confidences = sorted(p.confidence for p in fer.predict_batch(crops))
    wish = (confidences[1] + confidences[2]) / 2
    with Predictor(tiny_artifact, backend="onnxruntime", min_confidence=wish) as fer:
        given = (
            [fer.predict(crop) for crop in crops],
            fer.predict_batch(crops),
            list(fer.predict_stream(crops)),
        )
    for predictions in given:
        assert sum(prediction.uncertain for prediction in predictions) == 2
        assert all(p.uncertain is (p.confidence < wish) for p in predictions)


def test_without_a_wish_no_prediction_is_uncertain(fer: Predictor, crops: list[Image]) -> None:
    assert not any(prediction.uncertain for prediction in fer.predict_batch(crops))


def test_the_most_probable_emotion_is_told_all_the_same(
    double: Any, gray: Callable[[int], Image]
) -> None:
    given = Predictor(backend=double, min_confidence=1).predict(gray(3))
    assert (given.emotion, given.uncertain) == (Emotion.HAPPY, False)
