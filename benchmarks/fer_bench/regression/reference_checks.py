"""Checks against the fp32 reference, in the same run and on the same pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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


@dataclass(frozen=True, eq=False)
class _Comparison:
    """Answers of the subject and of the reference to the same pictures."""

    name: str
    names: tuple[str, ...]
    pixels: tuple[npt.NDArray[np.uint8], ...]
    given: npt.NDArray[np.floating]
    expected: npt.NDArray[np.floating]
    labels: tuple[str, ...]

    def changed(self) -> Iterator[ChangedPicture]:
        """Pictures whose answer is another one."""
        for index in np.flatnonzero(~same_answers(self.expected, self.given, tie=_TIE)):
            there, here = (spoken(row[index], self.labels) for row in (self.expected, self.given))
            caption = f"{there}, here {here}"
            yield ChangedPicture(self.names[index], self.pixels[index], caption, worse=True)


def parity(subject: Subject) -> Outcome:
    """The same answers as the fp32 reference, on probes and on the pictures that were given."""
    bounds, rows = subject.bounds, []
    changed: list[ChangedPicture] = []
    for one in _comparisons(subject):
        found = agreement(one.expected, one.given, tie=_TIE)
        gap, most = found.max_difference, bounds.max_probability_difference
        rows.append(at_least(f"{one.name}: top-1 agreement", found.top1, bounds.top1_agreement))
        rows.append(at_most(f"{one.name}: mean KL, nats", found.mean_kl, bounds.mean_kl))
        rows.append(at_most(f"{one.name}: max |Δp|", gap, most))
        changed += one.changed()
    return Outcome((*rows, *_growth_of_kl(subject)), tuple(changed))


def latency(subject: Subject) -> Outcome:
    """As fast as it was, compared with the reference.

    It fails if the whole interval of the ratio is above the bound. On a machine that is not quiet
    nothing is judged.
    """
    kept, reference = subject.required().latency, _reference(subject)
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


def _comparisons(subject: Subject) -> list[_Comparison]:
    reference, probes, labels = _reference(subject), subject.probes, subject.classes
    found = [
        _Comparison(
            "probes",
            tuple(probes),
            tuple(probes.values()),
            subject.probe_matrix(),
            reference.probe_matrix(),
            labels,
        )
    ]
    if subject.data is not None:
        crops = subject.data.crops
        pixels, answers = tuple(crops.images), (subject.on_data(), reference.on_data())
        found.append(_Comparison(subject.data.split, crops.names, pixels, *answers, labels))
    return found


def _growth_of_kl(subject: Subject) -> list[Row]:
    """A worse quantiser may stay within the absolute bounds: the recorded KL tells it."""
    kept, bounds = subject.recorded, subject.bounds
    if kept is None or kept.mean_kl is None:
        return []
    now = mean_kl_divergence(_reference(subject).probe_matrix(), subject.probe_matrix())
    # below a hundredth of what is allowed at all, growth is rounding
    bound = max(kept.mean_kl * bounds.kl_growth, bounds.mean_kl / 100)
    return [at_most("probes: growth of mean KL", now, bound, recorded=f"{kept.mean_kl:.2g}")]


def _reference(subject: Subject) -> Subject:
    if subject.reference is None:
        raise NotCompared("there is no other fp32 artifact to compare with")
    return subject.reference
