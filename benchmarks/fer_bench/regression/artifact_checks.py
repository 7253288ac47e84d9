"""Checks of an artifact alone: its files, its size, and its answers to pictures that we have."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fer_bench.regression.baseline import read_answer
from fer_bench.regression.outcome import (
    ChangedPicture,
    NotCompared,
    Outcome,
    Row,
    at_least,
    at_most,
    spoken,
)
from fer_bench.regression.subject import Subject
from fer_edge.images.preprocess import preprocess

__all__ = ["answers", "golden", "intact", "recorded", "size"]

_GRAY_LEVELS = 1  # accelerated resizing may round differently
_FAR_OFF = 255.0


def intact(subject: Subject) -> Outcome:
    """The files are those that the manifest lists, and the artifact opens and answers.

    Raises ArtifactError for other files, and does not open them.
    """
    return Outcome((at_least("probes answered", len(subject.answers()), 1, "d"),))


def recorded(subject: Subject) -> Outcome:
    """The baseline is of this model and has this cell. Otherwise an artifact ships unguarded."""
    kept = subject.recorded
    if kept is None:
        return Outcome((Row("in the baseline, or --fer-update-baseline", "", "no", "yes", False),))
    rows = [
        _the_same("model", subject.run.baseline.model, subject.run.model),
        _the_same("precision", kept.precision, subject.precision),
    ]
    if subject.run.data is not None:
        known = kept.accuracy is not None
        rows.append(Row("accuracy in the baseline", "", "yes" if known else "no", "yes", known))
    return Outcome(tuple(rows))


def golden(subject: Subject) -> Outcome:
    """The manifest's golden crops: pixel for pixel the same tensor, and the same answer."""
    bound, rows = subject.bounds.answer_difference, []
    for number, crop in enumerate(subject.run.golden):
        pixels, tensor = crop.arrays()
        made = np.empty(subject.spec.input.shape, np.uint8)
        preprocess(pixels, subject.spec.input, made)
        levels = _gap(made.astype(float), tensor.astype(float))
        rows.append(at_most(f"crop {number}: gray levels off", levels, _GRAY_LEVELS, "g", "0"))
        given, expected = subject.predict([pixels])[0], np.array(crop.probabilities)
        rows.append(at_most(f"crop {number}: max |Δp|", _gap(given, expected), bound, recorded="0"))
    if not rows:
        raise NotCompared("the manifest has no golden crops")
    return Outcome(tuple(rows))


def answers(subject: Subject) -> Outcome:
    """Probes get the recorded answers. This guards the fp32 reference too."""
    kept, now = subject.required.answers, subject.answers()
    bound = subject.bounds.answer_difference
    common = [name for name in kept if name in now]
    if not common:
        raise NotCompared("the baseline has no answers to the probes of this release")
    failing, changed, labels = [], [], subject.classes
    for name in common:
        before = read_answer(kept[name], len(labels))
        gap = _gap(now[name], before)
        if not gap <= bound:
            was, says = spoken(before, labels), spoken(now[name], labels)
            allowed = f"|Δp| ≤ {bound:g}, is {gap:.2g}"
            failing.append(Row(name, was, says, allowed, holds=False))
            caption = f"{was}, now {says}"
            changed.append(ChangedPicture(name, subject.run.probes[name], caption, worse=True))
    right = len(common) - len(failing)
    summary = at_least("probes that answer as recorded", right, len(common), "d", str(len(common)))
    return Outcome((summary, *failing), tuple(changed))


def size(subject: Subject) -> Outcome:
    """The artifact did not grow."""
    kept, now = subject.required.size_bytes, subject.cell.read().size_bytes
    bound = kept * (1 + subject.bounds.size_growth)
    return Outcome((at_most("size in bytes", now, bound, ",.0f", f"{kept:,}"),))


def _the_same(what: str, recorded: str, now: str) -> Row:
    return Row(what, recorded, now, "the same", recorded == now)


def _gap(given: npt.NDArray[np.floating], expected: npt.NDArray[np.floating]) -> float:
    return float(np.abs(given - expected).max()) if given.shape == expected.shape else _FAR_OFF
