"""What a prediction tells."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from collections.abc import Callable

import numpy as np
import pytest

from fer_edge import LABELS, Emotion, Prediction

SHARES = np.array([0.01, 0.02, 0.03, 0.8, 0.04, 0.06, 0.04], np.float32)


@pytest.fixture
def prediction() -> Prediction:
    return Prediction(SHARES.copy())


@pytest.mark.parametrize("position", range(len(LABELS)))
def test_the_emotion_is_the_most_probable_one(position: int) -> None:
    prediction = Prediction(np.roll(SHARES, position - 3))
    assert prediction.emotion is Emotion(LABELS[position])


def test_a_model_of_other_classes_names_them() -> None:
    prediction = Prediction(np.float32([0.2, 0.7, 0.1]), labels=("happy", "bored", "contempt"))
    assert (prediction.label, prediction.emotion) == ("bored", None)
    assert str(prediction) == "bored 70%"
    assert prediction.to_dict()["probabilities"].keys() == {"happy", "bored", "contempt"}
    assert pickle.loads(pickle.dumps(prediction)).labels == prediction.labels  # noqa: S301


def test_contempt_is_an_emotion_where_a_model_knows_it() -> None:
    prediction = Prediction(np.float32([0.2, 0.8]), labels=("happy", "contempt"))
    assert prediction.emotion is Emotion.CONTEMPT


def test_the_confidence_is_the_emotions_probability(prediction: Prediction) -> None:
    assert prediction.confidence == float(SHARES[3])
    assert type(prediction.confidence) is float


def test_its_fields_are_frozen(prediction: Prediction) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        prediction.probabilities = SHARES  # type: ignore[misc]


def test_its_numbers_are_read_only(prediction: Prediction) -> None:
    with pytest.raises(ValueError, match="read-only"):
        prediction.probabilities[0] = 1


def test_it_takes_no_attributes(prediction: Prediction) -> None:
    assert not hasattr(prediction, "__dict__")


@pytest.mark.parametrize("shape", [(), (6,), (8,), (1, 7)])
def test_it_refuses_another_number_of_probabilities(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"should have the shape \(7,\)"):
        Prediction(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    "copied",
    [
        copy.copy,
        copy.deepcopy,
        *(lambda p, v=v: pickle.loads(pickle.dumps(p, v)) for v in range(6)),  # noqa: S301
    ],
)
def test_copies_are_equal_and_read_only(
    prediction: Prediction, copied: Callable[[Prediction], Prediction]
) -> None:
    other = copied(prediction)
    assert other.probabilities.tolist() == prediction.probabilities.tolist()
    assert not other.probabilities.flags.writeable


def test_a_pickle_does_not_carry_the_batch_it_came_from() -> None:
    batch = np.tile(SHARES, (10_000, 1))
    assert len(pickle.dumps(Prediction(batch[17]))) < 1000


def test_it_reads_as_emotion_and_confidence(prediction: Prediction) -> None:
    assert str(prediction) == "happy 80%"


def test_its_repr_names_every_probability(prediction: Prediction) -> None:
    assert repr(prediction) == (
        "Prediction(happy: angry=0.010, disgust=0.020, fear=0.030, happy=0.800, sad=0.040, "
        "surprise=0.060, neutral=0.040)"
    )


def test_as_a_dictionary_it_survives_json(prediction: Prediction) -> None:
    plain = json.loads(json.dumps(prediction.to_dict()))
    assert plain == {
        "emotion": "happy",
        "confidence": float(SHARES[3]),
        "uncertain": False,
        "probabilities": dict(zip(LABELS, SHARES.tolist(), strict=True)),
    }


def test_it_is_uncertain_below_the_confidence_that_was_asked_for() -> None:
    assert not Prediction(SHARES.copy()).uncertain
    assert not Prediction(SHARES.copy(), 0.8).uncertain  # not below float32's 0.8
    assert Prediction(SHARES.copy(), 0.81).uncertain


def test_an_uncertain_one_says_so_wherever_it_is_read() -> None:
    prediction = Prediction(SHARES.copy(), 0.9)
    assert str(prediction) == "uncertain (happy 80%)"
    assert repr(prediction).startswith("Prediction(uncertain, happy: angry=0.010")
    assert prediction.to_dict()["uncertain"] is True
    assert pickle.loads(pickle.dumps(prediction)).uncertain  # noqa: S301


def test_it_can_be_a_key(prediction: Prediction) -> None:
    assert {prediction: 1, copy.copy(prediction): 2}[prediction] == 1
