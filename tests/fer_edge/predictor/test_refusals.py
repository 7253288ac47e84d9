"""What Predictor refuses of its callers, and of engines."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fer_edge import EngineError, InputError, Predictor

Image = npt.NDArray[np.uint8]


def test_an_unfit_crop_is_refused(fer: Predictor) -> None:
    with pytest.raises(InputError, match=r"^expected uint8 pixels, not float32"):
        fer.predict(np.zeros((48, 48), np.float32))  # type: ignore[arg-type]


def test_one_unfit_crop_refuses_its_batch_and_is_named(
    double: Any, gray: Callable[[int], Image]
) -> None:
    with pytest.raises(InputError, match=r"^crop 1 of the batch: expected .*not None") as caught:
        Predictor(backend=double).predict_batch([gray(1), None, gray(2)])  # type: ignore[list-item]
    assert caught.value.index == 1
    assert double.batches == []


@pytest.mark.parametrize(
    "nothing", [None, 3, b"\xff\xd8", memoryview(b"x"), io.BytesIO(b"x"), (False, None)]
)
def test_what_cannot_be_iterated_is_no_batch(fer: Predictor, nothing: Any) -> None:
    with pytest.raises(InputError, match="expected an iterable of crops, not"):
        fer.predict_batch(nothing)


@pytest.mark.parametrize("nothing", [3, {"face": 3}])
def test_what_is_no_batch_is_told_what_to_give(fer: Predictor, nothing: Any) -> None:
    with pytest.raises(InputError, match="; give a list of arrays or paths"):
        fer.predict_batch(nothing)


@pytest.mark.parametrize("path", ["face.png", Path("face.png")])
def test_a_path_is_no_batch(fer: Predictor, path: Any) -> None:
    for call in (fer.predict_batch, fer.predict_stream):
        with pytest.raises(InputError, match="not a single path; use predict"):
            call(path)


@pytest.mark.parametrize("shape", [(48, 48), (48, 48, 3)])
def test_one_picture_is_no_batch(fer: Predictor, shape: tuple[int, ...]) -> None:
    picture = np.zeros(shape, np.uint8)
    for call in (fer.predict_batch, fer.predict_stream):
        with pytest.raises(InputError, match="expected several crops, not one picture of shape"):
            call(picture)


@pytest.mark.parametrize("shape", [(), (900,)])
def test_an_encoded_picture_or_a_number_is_no_batch(fer: Predictor, shape: tuple[int, ...]) -> None:
    for call in (fer.predict_batch, fer.predict_stream):
        with pytest.raises(InputError, match="expected several crops, not uint8 of shape"):
            call(np.zeros(shape, np.uint8))


def test_an_array_of_no_crops_gives_none(fer: Predictor) -> None:
    assert fer.predict_batch(np.array([])) == []  # type: ignore[arg-type]


def test_an_array_of_several_crops_is_a_batch(fer: Predictor) -> None:
    assert len(fer.predict_batch(np.zeros((2, 48, 48), np.uint8))) == 2


@pytest.mark.parametrize(
    "batch",
    [
        None,
        [[0]],
        np.zeros((0, 48, 48, 1), np.uint8),
        np.zeros((48, 48, 1), np.uint8),
        np.zeros((2, 48, 48), np.uint8),
        np.zeros((2, 1, 48, 48), np.uint8),
        np.zeros((2, 48, 48, 3), np.uint8),
        np.zeros((2, 48, 48, 1), np.float32),
        np.zeros((), np.uint8),
    ],
)
def test_a_tensor_of_another_form_is_refused(double: Any, batch: Any) -> None:
    with pytest.raises(InputError, match=r"expected uint8 of shape \(N, 48, 48, 1\) with N > 0"):
        Predictor(backend=double).predict_tensor(batch)
    assert double.batches == []


@pytest.mark.parametrize(
    ("logits", "probabilities"),
    [((2, 7), (1, 7)), ((3, 7), (3, 7)), ((2, 7), (2, 6)), ((14,), (2, 7))],
)
def test_an_answer_of_another_shape_is_the_engines_error(
    answering: Callable[..., Any],
    logits: tuple[int, ...],
    probabilities: tuple[int, ...],
    gray: Callable[[int], Image],
) -> None:
    answers = np.zeros(logits, np.float32), np.zeros(probabilities, np.float32)
    fer = Predictor(backend=answering(*answers))
    with pytest.raises(EngineError, match=r"double returned .* instead of \(2, 7\)"):
        fer.predict_batch([gray(1), gray(2)])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_answer_that_is_no_number_is_the_engines_error(
    answering: Callable[..., Any], value: float, gray: Callable[[int], Image]
) -> None:
    answer = np.zeros((1, 7), np.float32)
    answer[0, 3] = value
    fer = Predictor(backend=answering(answer, answer))
    with pytest.raises(EngineError, match="not finite"):
        fer.predict(gray(1))


def test_logits_that_are_no_numbers_are_the_engines_error(answering: Callable[..., Any]) -> None:
    logits, probabilities = np.full((1, 7), np.nan, np.float32), np.zeros((1, 7), np.float32)
    fer = Predictor(backend=answering(logits, probabilities))
    with pytest.raises(EngineError, match="returned logits that are not finite"):
        fer.predict_tensor(np.zeros((1, 48, 48, 1), np.uint8))
