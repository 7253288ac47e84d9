"""From measurements to a baseline."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np

from fer_bench.paired_tests import pack_mask
from fer_bench.regression.baseline import (
    Baseline,
    RecordedAccuracy,
    RecordedCell,
    RecordedData,
    RecordedLatency,
    write_answer,
)
from fer_bench.regression.cells import split_name
from fer_bench.regression.latency_ratio import measure_pair
from fer_bench.regression.probes import RECORDED
from fer_bench.regression.subject import Subject
from fer_edge.evaluation import metrics
from fer_edge.evaluation.agreement import mean_kl_divergence
from fer_edge.system.machine import cpu_name

_RATE_DIGITS, _SMALL_DIGITS = 5, 3


def record(subject: Subject) -> RecordedCell:
    """Measure everything that a baseline keeps of a cell, rounded for review.

    The latency is left out if the machine is not quiet.
    """
    reference = subject.run.reference
    mean_kl = latency = None
    if reference is not None and reference is not subject:
        mean_kl = _short(mean_kl_divergence(reference.on_probes, subject.on_probes))
        measured = measure_pair(subject.predictor, reference.predictor)
        if not measured.disturbances:  # a ratio from a busy machine would allow too much
            latency = RecordedLatency(_short(measured.ratio), reference.cell.name, cpu_name())
    answers = islice(subject.answers().items(), RECORDED)
    artifact = subject.cell.read()
    return RecordedCell(
        precision=subject.precision,
        sha256=artifact.sha256,
        size_bytes=artifact.size_bytes,
        answers={name: write_answer(given) for name, given in answers},
        mean_kl=mean_kl,
        latency=latency,
        accuracy=_accuracy(subject) if subject.run.data else None,
    )


def merge(
    old: Baseline,
    recorded: dict[str, RecordedCell],
    data: RecordedData | None,
    files: dict[str, str],
) -> Baseline:
    """Put new recordings into a baseline; its bounds stay as they are.

    ``files`` maps the model's artifacts to their sha256. A cell that was not measured now is kept
    if its artifact is the same file and the pictures are the same: a baseline can hold cells of
    several machines. Without pictures (``data`` is None) artifacts that did not change keep their
    accuracy.
    """
    now = old.data if data is None else data
    same = {
        name: cell
        for name, cell in old.cells.items()
        if files.get(split_name(name)[0]) == cell.sha256 and now == old.data
    }
    if data is None:
        recorded = {
            name: replace(cell, accuracy=same[name].accuracy) if name in same else cell
            for name, cell in recorded.items()
        }
    return replace(old, cells={**same, **recorded}, data=now)


def _accuracy(subject: Subject) -> RecordedAccuracy:
    given, labels = subject.on_data, subject.data.crops.labels
    right = given.argmax(axis=1) == labels
    recall = {
        name: _rate(right[labels == index].mean())
        for index, name in enumerate(subject.classes)
        if (labels == index).any()
    }
    ece = metrics.expected_calibration_error(labels, given)
    return RecordedAccuracy(_rate(right.mean()), recall, _rate(ece), pack_mask(right))


def _rate(value: float | np.floating) -> float:
    return round(float(value), _RATE_DIGITS)


def _short(value: float) -> float:
    return float(f"{value:.{_SMALL_DIGITS}g}")
