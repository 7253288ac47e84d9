"""Checks against the fp32 reference, in the same run and on the same pictures."""

from __future__ import annotations

import numpy as np

from fer_bench.regression.latency_ratio import measure_pair
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
from fer_edge.system.machine import cpu_name

__all__ = ["latency", "parity"]

_TIE = 1e-4
"""Below this difference of probabilities, rounding may decide which class is the answer."""


def parity(subject: Subject) -> Outcome:
    """The same answers as the fp32 reference, on probes and on the pictures that were given."""
    reference, probes, labels = subject.reference, subject.run.probes, subject.classes
    compared = [
        ("probes", tuple(probes), tuple(probes.values()), reference.on_probes, subject.on_probes)
    ]
    if data := subject.run.data:
        pictures = data.crops.names, tuple(data.crops.images)
        compared.append((data.record.split, *pictures, reference.on_data, subject.on_data))
    bounds, rows = subject.bounds, []
    changed: list[ChangedPicture] = []
    for name, names, pixels, asked, answered in compared:
        expected, given = asked(), answered()
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
    kept, reference = subject.required.latency, subject.reference
    if kept is None:
        raise NotCompared(
            "the baseline has no latency of this cell; record it on a quiet machine with "
            "--fer-update-baseline"
        )
    here, name = cpu_name(), reference.cell.name
    if kept.machine != here:
        raise NotCompared(
            f"the ratio was recorded on {kept.machine}, this is {here}; keep a baseline per machine"
        )
    if kept.reference != name:
        raise NotCompared(f"the ratio was recorded against {kept.reference}, not {name}")
    found = measure_pair(subject.predictor, reference.predictor)
    if found.disturbances:
        raise NotCompared(f"this machine is not quiet: {'; '.join(found.disturbances)}")
    bound, (low, high) = kept.ratio * (1 + subject.bounds.latency_growth), found.interval
    what = f"p50 of one crop over that of {name}"
    now = f"{found.ratio:.2f} [{low:.2f}, {high:.2f}]"
    return Outcome((Row(what, f"{kept.ratio:.2f}", now, f"from ≤ {bound:.2f}", low <= bound),))


def _growth_of_kl(subject: Subject) -> list[Row]:
    """A worse quantiser may stay within the absolute bounds; it does not keep the recorded KL."""
    kept, bounds = subject.recorded, subject.bounds
    if kept is None or kept.mean_kl is None:
        return []
    now = mean_kl_divergence(subject.reference.on_probes(), subject.on_probes())
    # growth below a hundredth of the absolute bound is rounding
    bound = max(kept.mean_kl * bounds.kl_growth, bounds.mean_kl / 100)
    return [at_most("probes: growth of mean KL", now, bound, recorded=f"{kept.mean_kl:.2g}")]
