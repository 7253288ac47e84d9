"""The emotions, FER2013's seven and their order."""

from __future__ import annotations

import json

import pytest

from fer_edge import LABELS, Emotion


def test_the_order_is_that_of_fer2013() -> None:
    assert LABELS == ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


@pytest.mark.parametrize("label", LABELS)
def test_the_index_is_the_position_in_the_labels(label: str) -> None:
    assert LABELS[Emotion(label).class_index] == label


def test_contempt_is_known_and_none_of_fer2013s_seven() -> None:
    assert Emotion("contempt") is Emotion.CONTEMPT
    assert "contempt" not in LABELS
    assert Emotion.CONTEMPT.class_index == len(LABELS)


def test_a_member_is_its_own_name_wherever_text_is_written() -> None:
    happy = Emotion("happy")
    assert happy is Emotion.HAPPY
    assert (str(happy), f"{happy}", json.dumps(happy)) == ("happy", "happy", '"happy"')
