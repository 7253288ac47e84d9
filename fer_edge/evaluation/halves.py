"""The halves of a data set, and the names that folders, columns and files have for them."""

from __future__ import annotations

import re
from functools import lru_cache

from fer_edge.evaluation.classes import emotion_named

TRAIN, PUBLIC, PRIVATE, TEST = "train", "public-test", "private-test", "test"

FER2013_NAMES = {"Training": TRAIN, "PublicTest": PUBLIC, "PrivateTest": PRIVATE}
"""FER2013's own words for its splits, which are also how its pictures' names begin."""

_HALVES = {
    **dict.fromkeys(("train", "training", "trn", "trainset"), TRAIN),
    **dict.fromkeys(
        ("val", "valid", "validation", "validate", "dev", "eval", "evaluation"), PUBLIC
    ),
    **dict.fromkeys(("publictest", "public test"), PUBLIC),
    **dict.fromkeys(("privatetest", "private test"), PRIVATE),
    **dict.fromkeys(("test", "tests", "testing", "tst", "testset"), TEST),
}
_FILLERS = {"set", "data", "images", "imgs", "pictures", "faces", "split", "folder", "half", "fer"}
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_WORDS = re.compile(r"[^a-z]+")


@lru_cache(maxsize=4096)
def half_named(folder: str) -> str | None:
    """The split that a folder's name stands for; None where it is another name."""
    for spelled in (folder, _CAMEL.sub(" ", folder)):
        words = [word for word in _WORDS.split(spelled.lower()) if word and word not in _FILLERS]
        if half := _HALVES.get(" ".join(words)):
            return half
    return None


@lru_cache(maxsize=4096)
def half_and_class(folder: str) -> tuple[str, str] | None:
    """The two words of a folder such as train_angry or AngryTest."""
    words = [word for word in _WORDS.split(_CAMEL.sub(" ", folder).lower()) if word]
    for half, name in (words, words[::-1]) if len(words) == 2 else ():  # noqa: PLR2004
        if half in _HALVES and (emotion := emotion_named(name)):
            return half, emotion
    return None


def halves_in(file: str) -> list[str | None]:
    """For each word of a file's name the half that it stands for."""
    words = f"{file} {_CAMEL.sub(' ', file)}".lower()
    return [_HALVES.get(word) for word in _WORDS.split(words)]
