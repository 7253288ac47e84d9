"""Baselines: what a model did when somebody last looked, as JSON that is reviewed as a diff."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fer_bench.regression.bounds import DEFAULT_BOUNDS, Bounds
from fer_edge.artifacts.record import decode, encode, parse_json
from fer_edge.artifacts.spec import check_schema
from fer_edge.errors import ArtifactError, DataError
from fer_edge.system.files import write_json

__all__ = [
    "Baseline",
    "RecordedAccuracy",
    "RecordedCell",
    "RecordedData",
    "RecordedLatency",
    "pack_hits",
    "read_answer",
    "write_answer",
]

SCHEMA_VERSION = 1
_MAX_BYTES = 64 << 20
_MAX_COUNT = 1 << 53
"""Of bytes or pictures: what arithmetic with fractions keeps exact."""
_ANSWER_DIGITS = 6


@dataclass(frozen=True)
class RecordedData:
    """The pictures that accuracies were measured on; ``sha256`` does not depend on their order."""

    split: str
    n: int
    sha256: str

    def __post_init__(self) -> None:
        _check_count("n", self.n)


@dataclass(frozen=True)
class RecordedAccuracy:
    """Rates are fractions of 1; ``recall`` is by class name.

    ``hits`` is base64 of one bit per picture, most significant first, in the canonical order of
    ``fer_bench.regression.evaluation``: 1 where the answer was right.
    """

    accuracy: float
    recall: dict[str, float]
    ece: float
    hits: str

    def __post_init__(self) -> None:
        rates = {"accuracy": self.accuracy, "ece": self.ece}
        rates |= {f"recall.{name}": rate for name, rate in self.recall.items()}
        for name, rate in rates.items():
            if not 0 <= rate <= 1:
                raise ValueError(f"{name} should be a fraction of 1, not {rate}")

    def right(self, n: int) -> npt.NDArray[np.bool_]:
        """Unpack ``hits``; bool ``(n,)``. Raises DataError where it holds another number."""
        try:
            packed = base64.b64decode(self.hits, validate=True)
        except ValueError as problem:
            raise DataError(f"the baseline's hits are no base64: {problem}") from problem
        if len(packed) != (n + 7) // 8:
            raise DataError(
                f"the baseline's hits are of {len(packed) * 8} pictures or fewer, not of {n}"
            )
        return np.unpackbits(np.frombuffer(packed, np.uint8), count=n).astype(np.bool_)


@dataclass(frozen=True)
class RecordedLatency:
    """Median time of one crop over that of the cell ``reference`` in the same run."""

    ratio: float
    reference: str
    machine: str


@dataclass(frozen=True)
class RecordedCell:
    """What one artifact did on one backend.

    ``answers`` has the probabilities of each probe, as text on one line. ``mean_kl`` is to
    the fp32 reference (nats), None for the reference itself.
    """

    precision: str
    sha256: str
    size_bytes: int
    answers: dict[str, str]
    mean_kl: float | None = None
    latency: RecordedLatency | None = None
    accuracy: RecordedAccuracy | None = None

    def __post_init__(self) -> None:
        _check_count("size_bytes", self.size_bytes)


@dataclass(frozen=True)
class Baseline:
    """Everything recorded of one model; ``cells`` is by the name of the cell."""

    model: str
    cells: dict[str, RecordedCell] = field(default_factory=dict)
    bounds: dict[str, Bounds] = field(default_factory=lambda: dict(DEFAULT_BOUNDS))
    data: RecordedData | None = None
    schema: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if self.schema != SCHEMA_VERSION:
            raise ValueError(f"schema should be {SCHEMA_VERSION}, not {self.schema}")
        if missing := DEFAULT_BOUNDS.keys() - self.bounds.keys():
            raise ValueError(f"bounds lack {', '.join(sorted(missing))}")

    def write(self, path: Path) -> None:
        """Write sorted JSON, so that a change is a short diff."""
        write_json(path, _sorted(encode(self)))

    @classmethod
    def read(cls, path: Path) -> Baseline:
        """Read and check a baseline. Raises DataError."""
        if not os.path.isfile(path):  # Path.is_file raises where it may not look
            raise DataError(
                f"there is no baseline at {path}; record one with --fer-update-baseline, or tell "
                "where it is: --fer-baseline"
            )
        try:
            with path.open("rb") as stream:
                text = stream.read(_MAX_BYTES + 1)
        except OSError as problem:
            raise DataError(f"cannot read the baseline {path}: {problem.strerror}") from problem
        if len(text) > _MAX_BYTES:
            raise DataError(f"{path} is larger than {_MAX_BYTES} bytes; that is no baseline")
        try:
            value = parse_json(text, str(path))
            _check_printable(value, str(path))
            check_schema(value, SCHEMA_VERSION, str(path))
        except ArtifactError as problem:
            raise DataError(str(problem)) from problem
        return decode(cls, value, str(path), DataError)


def pack_hits(right: npt.NDArray[np.bool_]) -> str:
    """One bit per picture, as ``RecordedAccuracy.hits`` keeps them."""
    return base64.b64encode(np.packbits(right).tobytes()).decode()


def write_answer(probabilities: npt.NDArray[np.floating]) -> str:
    """Probabilities as text."""
    return " ".join(f"{value:.{_ANSWER_DIGITS}f}" for value in probabilities)


def read_answer(text: str, classes: int) -> npt.NDArray[np.float64]:
    """Probabilities from text; float64 ``(classes,)``. Raises DataError."""
    try:
        values = np.array([float(value) for value in text.split()])
    except ValueError as problem:
        raise DataError(f"the baseline's answer {text!r:.60} is no list of numbers") from problem
    if values.shape != (classes,) or not np.isfinite(values).all():
        raise DataError(f"the baseline's answer {text!r:.60} is not {classes} numbers")
    return values


def _check_count(name: str, count: int) -> None:
    if not 0 <= count <= _MAX_COUNT:
        raise ValueError(f"{name} should be from 0 to {_MAX_COUNT:,}, not {count!r:.40}")


def _check_printable(value: object, where: str) -> None:
    """Raise ArtifactError for text that a report could not show: surrogates, controls."""
    left = [value]  # no recursion: JSON may be nested as deep as Python calls
    while left:
        one = left.pop()
        if isinstance(one, dict):
            left += [*one, *one.values()]
        elif isinstance(one, list):
            left += one
        elif isinstance(one, str) and not one.isprintable():
            raise ArtifactError(f"{where} has text that cannot be printed: {one!r:.60}")


def _sorted(value: object) -> object:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return value
