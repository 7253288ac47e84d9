"""What an application does to a Predictor, its mistakes included."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fer_edge.errors import FerEdgeError, InputError
from fer_edge.images.synthetic import synthetic_crops
from fer_edge.prediction import Prediction
from fer_edge.predictor import Predictor

UInt8Array = npt.NDArray[np.uint8]
IntArray = npt.NDArray[np.int64]

TOLERANCE = {"fp32": 1e-3, "fp16": 5e-3, "int8": 5e-2}
"""How far a probability may be from the single-threaded one, by precision. Engines choose
different kernels for different batch sizes, and these round differently.
"""

_CROPS = 96
_SIDES = (8, 16, 33, 48, 64, 97, 150, 224, 400)
_MAX_BATCH = 8
_MAX_STREAM = 40
_BAD: tuple[Any, ...] = (
    None,
    np.zeros((0, 0), np.uint8),
    np.zeros((4, 4), np.uint8),
    np.zeros((48, 48, 2), np.uint8),
    np.full((48, 48), np.nan, np.float32),
    np.zeros(48, np.uint8),
    "no such picture.png",
    "/",
)


class _Wrong(Exception):  # noqa: N818 - it says what is wrong with the answer
    """An answer that is not the right one, or none where a mistake should be refused."""


@dataclass(frozen=True)
class CallResult:
    """One call: how many crops it answered, whether it refused a mistake, and what was wrong.

    ``seconds`` is how long a call for one crop took, 0 for the other kinds.
    """

    crops: int = 0
    seconds: float = 0.0
    refused: bool = False
    wrong: str = ""


@dataclass(frozen=True, eq=False)
class Workload:
    """Crops of many sizes, with the answers that a single thread got."""

    crops: tuple[UInt8Array, ...]
    answers: npt.NDArray[np.float32]
    tolerance: float

    @classmethod
    def of(cls, predictor: Predictor, seed: int = 0) -> Workload:
        """Draw the crops and ask for the answers, in this thread."""
        rng = np.random.default_rng(seed)
        crops = [_resized(crop, rng) for crop in synthetic_crops(_CROPS, seed)]
        answers = np.stack([predictor.predict(crop).probabilities for crop in crops])
        return cls(tuple(crops), answers, TOLERANCE[predictor.info.precision])

    def step(self, predictor: Predictor, rng: np.random.Generator) -> CallResult:
        """Make one call of a random kind and check its result."""
        kind = str(rng.choice(list(_KINDS), p=[share for share, _ in _KINDS.values()]))
        try:
            return _KINDS[kind][1](self, predictor, rng)
        except _Wrong as problem:
            return CallResult(wrong=f"{kind}: {problem}")
        except FerEdgeError as problem:
            return CallResult(wrong=f"{kind}: {type(problem).__name__}: {problem}")
        except Exception as problem:  # any error that is not ours is a finding
            return CallResult(wrong=f"{kind}: untyped {type(problem).__name__}: {problem}")

    def check(self, given: Sequence[Prediction], chosen: Sequence[int] | IntArray) -> None:
        """Raise _Wrong unless the answers to the chosen crops are those of a single thread."""
        if len(given) != len(chosen):
            raise _Wrong(f"{len(given)} answers to {len(chosen)} crops")
        for answer, index in zip(given, chosen, strict=True):
            gap = float(np.abs(answer.probabilities - self.answers[index]).max())
            if not gap <= self.tolerance:
                raise _Wrong(f"a probability is off by {gap:.2g}")


def _one(load: Workload, predictor: Predictor, rng: np.random.Generator) -> CallResult:
    index = int(rng.integers(len(load.crops)))
    start = time.perf_counter()
    given = predictor.predict(load.crops[index])
    seconds = time.perf_counter() - start
    load.check([given], [index])
    return CallResult(1, seconds)


def _batch(load: Workload, predictor: Predictor, rng: np.random.Generator) -> CallResult:
    chosen = rng.integers(len(load.crops), size=int(rng.integers(0, _MAX_BATCH + 1)))
    given = predictor.predict_batch([load.crops[index] for index in chosen])
    load.check(given, chosen)
    return CallResult(len(given))


def _stream(load: Workload, predictor: Predictor, rng: np.random.Generator) -> CallResult:
    """A stream with a mistake in it, which is abandoned somewhere or read to its end."""
    chosen = rng.integers(len(load.crops), size=int(rng.integers(0, _MAX_STREAM + 1)))
    items: list[Any] = [load.crops[index] for index in chosen]
    place = int(rng.integers(len(items) + 1))
    items.insert(place, _any_mistake(rng))
    wanted = int(rng.integers(len(items) + 1))
    with predictor.predict_stream(items, errors="yield") as stream:
        given = list(stream if wanted == len(items) else islice(stream, wanted))
    refused = [(at, one.index) for at, one in enumerate(given) if isinstance(one, InputError)]
    if len(given) != wanted or refused != [(place, place)] * (place < wanted):
        raise _Wrong(
            f"{len(given)} of {wanted} items came, {refused} was refused, not item {place}"
        )
    answers = [answer for answer in given if not isinstance(answer, InputError)]
    load.check(answers, chosen[: len(answers)])
    return CallResult(len(answers))


def _mistake(_load: Workload, predictor: Predictor, rng: np.random.Generator) -> CallResult:
    bad = _any_mistake(rng)
    try:
        predictor.predict(bad)
    except InputError:
        return CallResult(refused=True)
    raise _Wrong(f"{bad!r:.60} was answered")


def _mistake_in_a_batch(
    load: Workload, predictor: Predictor, rng: np.random.Generator
) -> CallResult:
    place, crops = int(rng.integers(0, 4)), list(load.crops[:4])
    crops[place] = _any_mistake(rng)
    try:
        predictor.predict_batch(crops)
    except InputError as problem:
        if problem.index != place:
            raise _Wrong(f"crop {place} was bad, {problem.index} is named") from problem
        return CallResult(refused=True)
    raise _Wrong(f"{crops[place]!r:.60} in a batch was answered")


_KINDS = {
    "one": (0.58, _one),
    "batch": (0.25, _batch),
    "stream": (0.02, _stream),
    "mistake": (0.12, _mistake),
    "in a batch": (0.03, _mistake_in_a_batch),
}
"""The calls, and how often each is made."""


def _any_mistake(rng: np.random.Generator) -> Any:
    return _BAD[int(rng.integers(len(_BAD)))]


def _resized(crop: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    height, width = (int(side) for side in rng.choice(_SIDES, 2))
    changed = np.asarray(cv2.resize(crop, (width, height)), np.uint8)
    return np.ascontiguousarray(changed[:, :, 1]) if rng.random() < 0.5 else changed  # noqa: PLR2004
