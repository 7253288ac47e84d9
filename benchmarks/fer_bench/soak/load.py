"""What an application does to a Predictor, its mistakes included."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fer_edge.errors import FerEdgeError, InputError
from fer_edge.images.synthetic import synthetic_crops
from fer_edge.predictor import Predictor

__all__ = ["TOLERANCE", "CallResult", "Workload"]

UInt8Array = npt.NDArray[np.uint8]

TOLERANCE = {"fp32": 1e-3, "fp16": 5e-3, "int8": 5e-2}
"""How far a probability may be from the single-threaded one, by precision: for other batch sizes
engines choose other kernels, which round differently.
"""

_CROPS = 96
_SIDES = (8, 16, 33, 48, 64, 97, 150, 224, 400)
_MAX_BATCH = 8
_MAX_STREAM = 40
_WEIGHTS = {"one": 0.58, "batch": 0.25, "stream": 0.02, "mistake": 0.12, "in a batch": 0.03}
_BAD: tuple[object, ...] = (
    None,
    np.zeros((0, 0), np.uint8),
    np.zeros((4, 4), np.uint8),
    np.zeros((48, 48, 2), np.uint8),
    np.full((48, 48), np.nan, np.float32),
    np.zeros(48, np.uint8),
    "no such picture.png",
    "/",
)


@dataclass(frozen=True)
class CallResult:
    """One call: its kind, crops and seconds, and what was wrong with the outcome."""

    kind: str
    crops: int
    seconds: float
    wrong: str = ""


@dataclass(frozen=True, eq=False)
class Workload:
    """Crops of many sizes with the answers that one thread got, one by one."""

    crops: tuple[UInt8Array, ...]
    answers: npt.NDArray[np.float32]
    tolerance: float
    _kinds: dict[str, Callable[[Workload, Predictor, np.random.Generator], CallResult]] = field(
        default_factory=lambda: {
            "one": _one,
            "batch": _batch,
            "stream": _stream,
            "mistake": _mistake,
            "in a batch": _mistake_in_a_batch,
        }
    )

    @classmethod
    def of(cls, predictor: Predictor, seed: int = 0) -> Workload:
        """Draw the crops and ask for the answers, in this thread."""
        rng = np.random.default_rng(seed)
        crops = [_resized(crop, rng) for crop in synthetic_crops(_CROPS, seed)]
        answers = np.stack([predictor.predict(crop).probabilities for crop in crops])
        return cls(tuple(crops), answers, TOLERANCE[predictor.info.precision])

    def difference(self, given: npt.NDArray[np.float32], chosen: npt.NDArray[np.int64]) -> str:
        """What is wrong with answers to the chosen crops; empty if nothing is."""
        gap = float(np.abs(given - self.answers[chosen]).max())
        return "" if gap <= self.tolerance else f"a probability is off by {gap:.2g}"

    def step(self, predictor: Predictor, rng: np.random.Generator) -> CallResult:
        """Make one call of a random kind, and judge what came of it."""
        kind = str(rng.choice(list(_WEIGHTS), p=list(_WEIGHTS.values())))
        try:
            return self._kinds[kind](self, predictor, rng)
        except FerEdgeError as problem:
            return CallResult(kind, 0, 0.0, f"{type(problem).__name__}: {problem}")
        except Exception as problem:  # whatever else comes out is what a soak looks for
            return CallResult(kind, 0, 0.0, f"untyped {type(problem).__name__}: {problem}")


def _one(load: Workload, predictor: Predictor, rng: np.random.Generator) -> CallResult:
    index = int(rng.integers(len(load.crops)))
    start = time.perf_counter()
    given = predictor.predict(load.crops[index]).probabilities
    taken = time.perf_counter() - start
    return CallResult("one", 1, taken, load.difference(given[None], np.array([index])))


def _batch(load: Workload, predictor: Predictor, rng: np.random.Generator) -> CallResult:
    chosen = rng.integers(len(load.crops), size=int(rng.integers(0, _MAX_BATCH + 1)))
    start = time.perf_counter()
    given = predictor.predict_batch([load.crops[index] for index in chosen])
    taken = time.perf_counter() - start
    if len(given) != len(chosen):
        return CallResult("batch", 0, taken, f"{len(given)} answers to {len(chosen)} crops")
    if not given:
        return CallResult("batch", 0, taken)
    rows = np.stack([answer.probabilities for answer in given])
    return CallResult("batch", len(chosen), taken, load.difference(rows, chosen))


def _stream(load: Workload, predictor: Predictor, rng: np.random.Generator) -> CallResult:
    """A stream with a mistake in it, which is abandoned somewhere or read to its end."""
    chosen = rng.integers(len(load.crops), size=int(rng.integers(0, _MAX_STREAM + 1)))
    items: list[Any] = [load.crops[index] for index in chosen]
    place = int(rng.integers(len(items) + 1))
    items.insert(place, _BAD[int(rng.integers(len(_BAD)))])
    wanted = int(rng.integers(len(items) + 1))
    start = time.perf_counter()
    with predictor.predict_stream(items, errors="yield") as stream:
        given = list(stream if wanted == len(items) else islice(stream, wanted))
    taken = time.perf_counter() - start
    refused = [(at, one.index) for at, one in enumerate(given) if isinstance(one, InputError)]
    if len(given) != wanted or refused != [(place, place)] * (place < wanted):
        return CallResult(
            "stream", 0, taken, f"{len(given)} of {wanted}, {refused} for {place} refused"
        )
    answers = [answer for answer in given if not isinstance(answer, InputError)]
    if not answers:
        return CallResult("stream", 0, taken)
    rows = np.stack([answer.probabilities for answer in answers])
    return CallResult("stream", len(rows), taken, load.difference(rows, chosen[: len(rows)]))


def _mistake(_load: Workload, predictor: Predictor, rng: np.random.Generator) -> CallResult:
    bad = _BAD[int(rng.integers(len(_BAD)))]
    start = time.perf_counter()
    try:
        predictor.predict(bad)  # type: ignore[arg-type]
    except InputError:
        return CallResult("mistake", 0, time.perf_counter() - start)
    return CallResult("mistake", 0, 0.0, f"{bad!r:.60} was answered")


def _mistake_in_a_batch(
    load: Workload, predictor: Predictor, rng: np.random.Generator
) -> CallResult:
    place = int(rng.integers(0, 4))
    crops: list[object] = list(load.crops[:4])
    crops[place] = _BAD[int(rng.integers(len(_BAD)))]
    start = time.perf_counter()
    try:
        predictor.predict_batch(crops)  # type: ignore[arg-type]
    except InputError as problem:
        wrong = "" if problem.index == place else f"crop {place} was bad, {problem.index} is named"
        return CallResult("mistake", 0, time.perf_counter() - start, wrong)
    return CallResult("mistake", 0, 0.0, f"{crops[place]!r:.60} in a batch was answered")


def _resized(crop: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    height, width = (int(side) for side in rng.choice(_SIDES, 2))
    changed = np.asarray(cv2.resize(crop, (width, height)), np.uint8)
    return np.ascontiguousarray(changed[:, :, 1]) if rng.random() < 0.5 else changed  # noqa: PLR2004
