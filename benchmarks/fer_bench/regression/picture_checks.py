"""Checks on labelled pictures, compared with the baseline picture by picture."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fer_bench.regression.baseline import RecordedAccuracy, RecordedData
from fer_bench.regression.outcome import (
    ChangedPicture,
    NotCompared,
    Outcome,
    Row,
    at_most,
    note,
    spoken,
)
from fer_bench.regression.subject import Run, Subject
from fer_edge.errors import DataError
from fer_edge.evaluation import metrics
from fer_edge.evaluation.agreement import discordant, mcnemar, paired_difference

_WIDEST = 0.05  # takes some 330 pictures; fewer would hide larger losses
_HASH_SHOWN = 12
_NOT_RECORDED = "the baseline was recorded without pictures; record it anew (--fer-update-baseline)"

Mask = npt.NDArray[np.bool_]


def pictures(run: Run) -> Outcome:
    """The pictures are the recorded ones, unless the run says that others are meant."""
    kept = run.baseline.data
    if kept is None:
        raise NotCompared(_NOT_RECORDED)
    _demand_pictures(run)
    now = run.pictures
    bound = "any" if run.other_data else "the same"
    rows = [
        ("split", kept.split, now.split),
        ("pictures", f"{kept.n:,}", f"{now.n:,}"),
        ("sha256", kept.sha256[:_HASH_SHOWN], now.sha256[:_HASH_SHOWN]),
    ]
    return Outcome(tuple(Row(*row, bound, holds=True) for row in rows))


def accuracy(subject: Subject) -> Outcome:
    """Not below the baseline by more than the bound, unless chance explains it.

    On the recorded pictures McNemar's exact test tells a loss from chance. On other pictures, if
    they are meant, the 95 % interval must reach the bound and be narrow enough to mean something.
    """
    kept, bounds, right = _kept(subject), subject.bounds, _right(subject)
    n, share = len(right), float(right.mean())
    low, high = metrics.wilson_interval(int(right.sum()), n)
    interval = note("95 % interval", f"{low:.2%} to {high:.2%}")
    was, now, floor = f"{kept.accuracy:.2%}", f"{share:.2%}", kept.accuracy - bounds.accuracy_loss
    if not subject.run.same_data:
        reaches = f"interval reaches {floor:.2%}"
        what = f"accuracy on {n} pictures, not the recorded ones"
        width = at_most("half of the 95 % interval", (high - low) / 2, _WIDEST, ".2%")
        return Outcome((Row(what, was, now, reaches, high >= floor), interval, width))
    before = kept.right(n)
    loss = paired_difference(before, right)
    p, interval95 = loss.p_value, loss.difference_ci95
    bound = f"≥ {floor:.2%} or p ≥ {bounds.significance:g}"
    holds = share >= floor or p >= bounds.significance
    rows = (
        Row(f"accuracy on {n} pictures", was, now, bound, holds),
        interval,
        note("loss, 95 % interval", f"{interval95[0]:.2%} to {interval95[1]:.2%}"),
        note("turned wrong, turned right", f"{loss.only_first}, {loss.only_second}"),
        note("McNemar's exact p", f"{p:.2g}"),
    )
    return Outcome(rows, _changed(subject, before, right))


def recall(subject: Subject) -> Outcome:
    """Each class alone, because a loss in a rare class does not show in the accuracy.

    A class that only the baseline or only the pictures have fails, because nothing guards it.
    """
    kept, right = _kept(subject), _right(subject)
    before = kept.right(len(right)) if subject.run.same_data else None
    unknown = sorted(kept.recall.keys() - set(subject.classes))
    rows, fallen = [_no_pictures(name, kept.recall[name]) for name in unknown], np.zeros_like(right)
    for index, name in enumerate(subject.classes):
        members = subject.run.data.labels == index
        if not members.any():
            rows += [_no_pictures(name, kept.recall[name])] if name in kept.recall else []
            continue
        was = None if before is None else before[members]
        row = _recall_row(subject, name, kept.recall.get(name), right[members], was)
        rows.append(row)
        fallen |= members & (not row.holds)
    changed = () if before is None else _changed(subject, before & fallen, right & fallen)
    return Outcome(tuple(rows), changed)


def calibration(subject: Subject) -> Outcome:
    """The ECE did not grow. It depends on the pictures, so it is compared on the same ones only."""
    kept = _kept(subject)
    if not subject.run.same_data:
        raise NotCompared(
            "the ECE was recorded on other pictures; record it on these with --fer-update-baseline"
        )
    now = metrics.expected_calibration_error(subject.run.data.labels, subject.on_data)
    bound = kept.ece + subject.bounds.ece_growth
    return Outcome((at_most("ECE", now, bound, ".4f", f"{kept.ece:.4f}"),))


def _demand_pictures(run: Run) -> None:
    """Raise DataError for pictures other than the recorded ones, unless these are meant.

    On other pictures only intervals can be compared, and fewer pictures make them wider. So an
    archive that was cut short or swapped would weaken every check without notice.
    """
    if run.other_data or run.same_data:
        return
    kept = run.baseline.data
    recorded = "pictures that it does not name" if kept is None else _described(kept)
    raise DataError(
        f"the baseline is of {recorded}, and these are {_described(run.pictures)}; give the "
        "recorded ones (--fer-data, --fer-split), record these (--fer-update-baseline), or say "
        "that others are meant (--fer-other-data)"
    )


def _described(data: RecordedData) -> str:
    return f"{data.n:,} pictures of {data.split} (sha256 {data.sha256[:_HASH_SHOWN]}…)"


def _recall_row(
    subject: Subject, name: str, recorded: float | None, right: Mask, before: Mask | None
) -> Row:
    """``right`` and ``before`` are of the class's pictures alone."""
    n, share = len(right), float(right.mean())
    what = f"recall of {name}, {n} pictures"
    if recorded is None:
        return Row(what, "", f"{share:.1%}", "recorded: --fer-update-baseline", holds=False)
    floor = recorded - subject.bounds.recall_loss
    if before is None:
        chance, told = metrics.wilson_interval(int(right.sum()), n)[1] >= floor, ""
    else:
        p = mcnemar(*discordant(before, right))
        chance, told = p >= subject.bounds.significance, f", p {p:.2g}"
    now, bound = f"{share:.1%}{told}", f"≥ {floor:.1%} or chance"
    return Row(what, f"{recorded:.1%}", now, bound, share >= floor or chance)


def _no_pictures(name: str, recorded: float) -> Row:
    return Row(f"recall of {name}", f"{recorded:.1%}", "no pictures", "pictures", holds=False)


def _right(subject: Subject) -> Mask:
    return np.asarray(subject.on_data.argmax(axis=1) == subject.run.data.labels, np.bool_)


def _kept(subject: Subject) -> RecordedAccuracy:
    kept = subject.required.accuracy
    if kept is None:
        raise NotCompared(_NOT_RECORDED)
    _demand_pictures(subject.run)
    return kept


def _changed(subject: Subject, before: Mask, right: Mask) -> tuple[ChangedPicture, ...]:
    crops, given = subject.run.data, subject.on_data
    found, labels = [], subject.classes
    for worse, mask in ((True, before & ~right), (False, right & ~before)):
        for index in np.flatnonzero(mask):
            caption = f"{labels[crops.labels[index]]}, now {spoken(given[index], labels)}"
            found.append(ChangedPicture(crops.names[index], crops.images[index], caption, worse))
    return tuple(found)
