"""Baselines: what a model did when it was recorded, as JSON that can be reviewed as a diff."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fer_bench.paired_tests import unpack_mask
from fer_bench.regression.cells import split_name
from fer_edge.artifacts.record import decode, encode, parse_json
from fer_edge.errors import ArtifactError, DataError
from fer_edge.system.files import write_json
from fer_edge.system.read_file import read_file

_MAX_BYTES = 64 << 20
_MOST = 1 << 53  # the largest number of bytes or pictures that a float holds exactly
_ANSWER_DIGITS = 6


@dataclass(frozen=True)
class Bounds:
    """What may change before a check fails, for artifacts of one precision.

    The baseline file holds them, and a reviewer may change them there.

    Compared with the fp32 reference on the same pictures in the same run: ``top1_agreement`` is the
    least, ``mean_kl`` (nats) and ``max_probability_difference`` are the most. On golden crops and
    recorded answers no probability may differ by more than ``answer_difference``.

    Compared with the baseline, as fractions of 1: ``accuracy_loss`` and ``recall_loss`` fail only
    if the p of McNemar's exact test is below ``significance`` too. The ECE may grow by
    ``ece_growth``, the size and the ratio of latencies by the shares ``size_growth`` and
    ``latency_growth``. The mean KL may become ``kl_growth`` times the recorded one: another
    calibration set of the same kind makes up to 1.4 times, one scale per tensor 1.7 or more.
    """

    top1_agreement: float
    mean_kl: float
    max_probability_difference: float
    answer_difference: float
    accuracy_loss: float = 0.005
    recall_loss: float = 0.05
    significance: float = 0.01
    ece_growth: float = 0.02
    kl_growth: float = 1.5
    size_growth: float = 0.05
    latency_growth: float = 0.5


DEFAULT_BOUNDS = {
    "fp32": Bounds(0.998, 1e-6, 1e-3, 1e-3),
    "fp16": Bounds(0.99, 1e-3, 0.05, 0.02),
    "int8": Bounds(0.93, 0.05, 0.6, 0.25),
}
"""What a new baseline starts with."""


@dataclass(frozen=True)
class RecordedData:
    """The pictures that accuracy was measured on. Their order does not change ``sha256``."""

    split: str
    n: int
    sha256: str


@dataclass(frozen=True)
class RecordedAccuracy:
    """Rates are fractions of 1; ``recall`` is by class name.

    ``hits`` is the mask of right answers as text (``fer_bench.paired_tests.pack_mask``), in the
    order of ``LabelledCrops.canonical_order``.
    """

    accuracy: float
    recall: dict[str, float]
    ece: float
    hits: str

    def right(self, n: int) -> npt.NDArray[np.bool_]:
        """Unpack ``hits``; bool ``(n,)``. Raises DataError for another number of pictures."""
        try:
            return unpack_mask(self.hits, n)
        except ValueError as problem:
            raise DataError(f"the baseline's hits are damaged: {problem}") from problem

    def __post_init__(self) -> None:
        for rate in (self.accuracy, self.ece, *self.recall.values()):
            if not 0 <= rate <= 1:
                raise ValueError(f"rates should be from 0 to 1, not {rate!r:.40}")


@dataclass(frozen=True)
class RecordedLatency:
    """Median time of one crop over that of the cell ``reference`` in the same run."""

    ratio: float
    reference: str
    machine: str


@dataclass(frozen=True)
class RecordedCell:
    """What one artifact did on one backend.

    ``answers`` holds the probabilities for each probe as one line of text. ``mean_kl`` is the
    divergence from the fp32 reference in nats, None for the reference itself.
    """

    precision: str
    sha256: str
    size_bytes: int
    answers: dict[str, str]
    mean_kl: float | None = None
    latency: RecordedLatency | None = None
    accuracy: RecordedAccuracy | None = None


@dataclass(frozen=True)
class Baseline:
    """Everything recorded of one model; ``cells`` is by the name of the cell."""

    model: str
    cells: dict[str, RecordedCell] = field(default_factory=dict)
    bounds: dict[str, Bounds] = field(default_factory=lambda: dict(DEFAULT_BOUNDS))
    data: RecordedData | None = None
    schema: int = 1

    def __post_init__(self) -> None:
        if missing := DEFAULT_BOUNDS.keys() - self.bounds.keys():
            raise ValueError(f"bounds lack {', '.join(sorted(missing))}")

    def write(self, path: Path) -> None:
        """Write sorted JSON, so that a change is a short diff."""
        write_json(path, json.loads(json.dumps(encode(self), sort_keys=True)))

    def merged(
        self, recorded: dict[str, RecordedCell], data: RecordedData | None, files: dict[str, str]
    ) -> Baseline:
        """Put new recordings into this baseline; its bounds stay as they are.

        ``files`` maps the model's artifacts to their sha256. A cell that was not measured now is
        kept if its artifact is the same file and the pictures are the same: a baseline can hold
        cells of several machines. Without pictures (``data`` is None) artifacts that did not change
        keep their accuracy.
        """
        now = self.data if data is None else data
        same = {
            name: cell
            for name, cell in self.cells.items()
            if files.get(split_name(name)[0]) == cell.sha256 and now == self.data
        }
        if data is None:
            recorded = {
                name: replace(cell, accuracy=same[name].accuracy) if name in same else cell
                for name, cell in recorded.items()
            }
        return replace(self, cells={**same, **recorded}, data=now)

    @classmethod
    def read(cls, path: Path) -> Baseline:
        """Read and check a baseline. Raises DataError."""
        if not os.path.lexists(path):  # Path.exists raises where it may not look
            raise DataError(
                f"there is no baseline at {path}; record one with --fer-update-baseline, or say "
                "where it is with --fer-baseline"
            )
        text = read_file(path, "baseline", _MAX_BYTES, DataError)
        try:
            value = parse_json(text, str(path))
            _check_values(value, str(path))
        except ArtifactError as problem:
            raise DataError(str(problem)) from problem
        return decode(cls, value, str(path), DataError)


def write_answer(probabilities: npt.NDArray[np.floating]) -> str:
    """Probabilities as text."""
    return " ".join(f"{value:.{_ANSWER_DIGITS}f}" for value in probabilities)


def read_answer(text: str, classes: int) -> npt.NDArray[np.float64]:
    """Probabilities from text; float64 ``(classes,)``. Raises DataError."""
    try:
        values = np.array([float(value) for value in text.split()])
    except ValueError as problem:
        raise DataError(f"the baseline's answer {text!r:.60} is not a list of numbers") from problem
    if values.shape != (classes,) or not np.isfinite(values).all():
        raise DataError(f"the baseline's answer {text!r:.60} is not {classes} numbers")
    return values


def _check_values(value: object, where: str) -> None:
    """Raise ArtifactError for text that cannot be printed, and for numbers out of range."""
    left = [("", value)]  # no recursion: JSON may be nested as deep as Python calls
    while left:
        place, one = left.pop()
        text = f"{place}{one}" if isinstance(one, str) else place
        if not text.isprintable():
            raise ArtifactError(f"{where} has text that cannot be printed: {text!r:.60}")
        if isinstance(one, dict):
            left += [(f"{place}.{name}", item) for name, item in one.items()]
        elif isinstance(one, list):
            left += [(place, item) for item in one]
        elif isinstance(one, (int, float)) and not 0 <= one <= _MOST:
            raise ArtifactError(f"{where}{place} should be from 0 to {_MOST:,}, not {one!r:.40}")
