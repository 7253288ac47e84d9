"""Checks on labelled pictures, held against the baseline picture by picture."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fer_bench.regression.baseline import RecordedAccuracy
from fer_bench.regression.outcome import (
    ChangedPicture,
    NotCompared,
    Outcome,
    Row,
    at_most,
    note,
    spoken,
)
from fer_bench.regression.pictures import demand_data
from fer_bench.regression.subject import Subject
from fer_edge.evaluation import metrics
from fer_edge.evaluation.agreement import discordant, mcnemar, paired_difference

__all__ = ["accuracy", "calibration", "recall"]

_WIDEST = 0.05  # takes some 330 pictures; with fewer, larger losses would go unseen

Mask = npt.NDArray[np.bool_]


def accuracy(subject: Subject) -> Outcome:
    """Not below the baseline by more than the bound, unless chance explains it.

    On the recorded pictures McNemar's exact test tells chance from loss. On other pictures, which
    have to be meant, the 95 % interval has to reach the bound, and to be narrow enough to tell.
    """
    kept, bounds = _kept(subject), subject.bounds
    right = _right(subject)
    n, share = len(right), float(right.mean())
    low, high = metrics.wilson_interval(int(right.sum()), n)
    interval = note("95 % interval", f"{low:.2%} to {high:.2%}")
    was, now, floor = f"{kept.accuracy:.2%}", f"{share:.2%}", kept.accuracy - bounds.accuracy_loss
    if not subject.same_data:
        told = f"interval reaches {floor:.2%}"
        what = f"accuracy on {n} pictures, not the recorded ones"
        width = at_most("half of the 95 % interval", (high - low) / 2, _WIDEST, ".2%")
        return Outcome((Row(what, was, now, told, high >= floor), interval, width))
    before = kept.right(n)
    loss = paired_difference(before, right)
    p, interval95 = loss.p_value, loss.difference_ci95
    told = f"≥ {floor:.2%} or p ≥ {bounds.significance:g}"
    holds = share >= floor or p >= bounds.significance
    rows = (
        Row(f"accuracy on {n} pictures", was, now, told, holds),
        interval,
        note("loss, 95 % interval", f"{interval95[0]:.2%} to {interval95[1]:.2%}"),
        note("turned wrong, turned right", f"{loss.only_first}, {loss.only_second}"),
        note("McNemar's exact p", f"{p:.2g}"),
    )
    return Outcome(rows, _changed(subject, before, right))


def recall(subject: Subject) -> Outcome:
    """Each class on its own: a loss in a rare class does not show in the accuracy.

    A class that only the baseline or only the pictures have fails: nothing would guard it.
    """
    kept, right = _kept(subject), _right(subject)
    before = kept.right(len(right)) if subject.same_data else None
    unknown = sorted(kept.recall.keys() - set(subject.classes))
    rows, fallen = [_no_pictures(name, kept.recall[name]) for name in unknown], np.zeros_like(right)
    for index, name in enumerate(subject.classes):
        members = subject.labels == index
        if not members.any():
            rows += [_no_pictures(name, kept.recall[name])] if name in kept.recall else []
        elif name not in kept.recall:
            rows.append(_not_recorded(name, right[members]))
        else:
            was = None if before is None else before[members]
            row = _recall_row(subject, name, kept.recall[name], right[members], was)
            rows.append(row)
            fallen |= members & (not row.holds)
    changed = () if before is None else _changed(subject, before & fallen, right & fallen)
    return Outcome(tuple(rows), changed)


def calibration(subject: Subject) -> Outcome:
    """The ECE did not grow. It depends on the pictures, so it is compared on the same ones only."""
    kept = _kept(subject)
    if not subject.same_data:
        raise NotCompared("the ECE was recorded on other pictures; --fer-update-baseline")
    now = metrics.expected_calibration_error(subject.labels, subject.on_data())
    bound = kept.ece + subject.bounds.ece_growth
    return Outcome((at_most("ECE", now, bound, ".4f", f"{kept.ece:.4f}"),))


def _recall_row(
    subject: Subject, name: str, recorded: float, right: Mask, before: Mask | None
) -> Row:
    """``right`` and ``before`` are of the class's pictures alone."""
    n, share, floor = len(right), float(right.mean()), recorded - subject.bounds.recall_loss
    if before is None:
        chance, told = metrics.wilson_interval(int(right.sum()), n)[1] >= floor, ""
    else:
        p = mcnemar(*discordant(before, right))
        chance, told = p >= subject.bounds.significance, f", p {p:.2g}"
    what = f"recall of {name}, {n} pictures"
    now, bound = f"{share:.1%}{told}", f"≥ {floor:.1%} or chance"
    return Row(what, f"{recorded:.1%}", now, bound, share >= floor or chance)


def _no_pictures(name: str, recorded: float) -> Row:
    return Row(f"recall of {name}", f"{recorded:.1%}", "no pictures", "pictures", holds=False)


def _not_recorded(name: str, right: Mask) -> Row:
    what = f"recall of {name}, {len(right)} pictures"
    return Row(what, "", f"{float(right.mean()):.1%}", "recorded: --fer-update-baseline", False)


def _right(subject: Subject) -> Mask:
    return np.asarray(subject.on_data().argmax(axis=1) == subject.labels, np.bool_)


def _kept(subject: Subject) -> RecordedAccuracy:
    if subject.data is None:
        raise NotCompared("no pictures were given; --fer-data")
    kept = subject.required().accuracy
    if kept is None:
        raise NotCompared("the baseline was recorded without pictures; --fer-update-baseline")
    demand_data(subject.baseline, subject.data, other_data=subject.other_data)
    return kept


def _changed(subject: Subject, before: Mask, right: Mask) -> tuple[ChangedPicture, ...]:
    if subject.data is None:
        return ()
    crops, given = subject.data.crops, subject.on_data()
    found, labels = [], subject.classes
    for worse, mask in ((True, before & ~right), (False, right & ~before)):
        for index in np.flatnonzero(mask):
            caption = f"{labels[crops.labels[index]]}, now {spoken(given[index], labels)}"
            found.append(ChangedPicture(crops.names[index], crops.images[index], caption, worse))
    return tuple(found)
