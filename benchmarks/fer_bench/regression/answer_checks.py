"""Checks without labels: of an artifact alone, or compared with the fp32 reference."""

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
from fer_edge.evaluation.agreement import agreement, mean_kl_divergence, same_answers
from fer_edge.images.preprocess import preprocess_all
from fer_edge.system.machine import cpu_name

_GRAY_LEVELS = 1  # accelerated resizing may round differently
_FAR_OFF = 255.0
_TIE = 1e-4
"""Below this difference of probabilities, rounding may decide which class is the answer."""


def intact(subject: Subject) -> Outcome:
    """The files have the hashes of the manifest, and the artifact opens and answers.

    Raises ArtifactError for other files, without opening them.
    """
    return Outcome((at_least("probes answered", len(subject.answers()), 1, "d"),))


def recorded(subject: Subject) -> Outcome:
    """The baseline is of this model and has this cell, so that no artifact ships unguarded."""
    kept = subject.recorded
    if kept is None:
        return Outcome((Row("in the baseline, or --fer-update-baseline", "", "no", "yes", False),))
    rows = [
        _the_same("model", subject.run.baseline.model, subject.run.model.name),
        _the_same("precision", kept.precision, subject.precision),
    ]
    if subject.run.source is not None:
        known = kept.accuracy is not None
        rows.append(Row("accuracy in the baseline", "", "yes" if known else "no", "yes", known))
    return Outcome(tuple(rows))


def golden(subject: Subject) -> Outcome:
    """The manifest's golden crops: pixel for pixel the same tensor, and the same answer."""
    bound, rows = subject.bounds.answer_difference, []
    for number, crop in enumerate(subject.run.model.golden):
        pixels, tensor = crop.arrays()
        (made,) = preprocess_all([pixels], subject.spec.input)
        levels = _gap(made.astype(float), tensor.astype(float))
        rows.append(at_most(f"crop {number}: gray levels off", levels, _GRAY_LEVELS, "g", "0"))
        given, expected = subject.predict([pixels])[0], np.array(crop.probabilities)
        rows.append(at_most(f"crop {number}: max |Δp|", _gap(given, expected), bound, recorded="0"))
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


def parity(subject: Subject) -> Outcome:
    """The same answers as the fp32 reference, on probes and on the pictures that were given."""
    run, reference, labels = subject.run, subject.reference, subject.classes
    both = reference.on_probes, subject.on_probes
    compared = [("probes", tuple(run.probes), tuple(run.probes.values()), *both)]
    if run.source is not None:
        both = reference.on_data, subject.on_data
        compared.append((run.split, run.data.names, tuple(run.data.images), *both))
    bounds, rows = subject.bounds, []
    changed: list[ChangedPicture] = []
    for name, names, pixels, expected, given in compared:
        found = agreement(expected, given, tie=_TIE)
        gap, most = found.max_difference, bounds.max_probability_difference
        rows.append(at_least(f"{name}: top-1 agreement", found.top1, bounds.top1_agreement))
        rows.append(at_most(f"{name}: mean KL, nats", found.mean_kl, bounds.mean_kl))
        rows.append(at_most(f"{name}: max |Δp|", gap, most))
        for index in np.flatnonzero(~same_answers(expected, given, tie=_TIE)):
            there, here = (spoken(row[index], labels) for row in (expected, given))
            caption = f"{there}, here {here}"
            changed.append(ChangedPicture(names[index], pixels[index], caption, worse=True))
    return Outcome((*rows, *_growth_of_kl(subject)), tuple(changed))


def latency(subject: Subject) -> Outcome:
    """As fast as it was, compared with the reference.

    It fails if the whole interval of the ratio is above the bound. On a machine that is not quiet
    nothing is judged.
    """
    kept, name = subject.required.latency, subject.reference.cell.name
    if kept is None:
        raise NotCompared(
            "the baseline has no latency of this cell; record it on a quiet machine with "
            "--fer-update-baseline"
        )
    if kept.machine != (here := cpu_name()):
        raise NotCompared(
            f"the ratio was recorded on {kept.machine}, this is {here}; keep a baseline per machine"
        )
    if kept.reference != name:
        raise NotCompared(f"the ratio was recorded against {kept.reference}, not {name}")
    found = subject.timed()
    if found.disturbances:
        raise NotCompared(f"this machine is not quiet: {'; '.join(found.disturbances)}")
    bound, (low, high) = kept.ratio * (1 + subject.bounds.latency_growth), found.interval
    what = f"p50 of one crop over that of {name}"
    now = f"{found.ratio:.2f} [{low:.2f}, {high:.2f}]"
    return Outcome((Row(what, f"{kept.ratio:.2f}", now, f"from ≤ {bound:.2f}", low <= bound),))


def _growth_of_kl(subject: Subject) -> list[Row]:
    """Compare the KL with the recorded one, because a worse quantiser may hold other bounds."""
    kept, bounds = subject.recorded, subject.bounds
    if kept is None or kept.mean_kl is None:
        return []
    now = mean_kl_divergence(subject.reference.on_probes, subject.on_probes)
    # growth below a hundredth of the absolute bound is rounding
    bound = max(kept.mean_kl * bounds.kl_growth, bounds.mean_kl / 100)
    return [at_most("probes: growth of mean KL", now, bound, recorded=f"{kept.mean_kl:.2g}")]


def _the_same(what: str, recorded: str, now: str) -> Row:
    return Row(what, recorded, now, "the same", recorded == now)


def _gap(given: npt.NDArray[np.floating], expected: npt.NDArray[np.floating]) -> float:
    return float(np.abs(given - expected).max()) if given.shape == expected.shape else _FAR_OFF
