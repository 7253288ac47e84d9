"""The whole suite: the steps of a run, how each went, and the baseline that a run records."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from fer_bench.regression import answer_checks, picture_checks
from fer_bench.regression.baseline import Baseline
from fer_bench.regression.cells import find_model, split_name
from fer_bench.regression.outcome import NotCompared, Outcome, Row, table
from fer_bench.regression.subject import Run, Subject
from fer_edge.errors import ConfigurationError, DataError, FerEdgeError, GateError
from fer_edge.evaluation.data_source import DataSource
from fer_edge.evaluation.fer2013 import SPLITS

Check = Callable[[Subject], Outcome]
Step = Callable[[], "Outcome | None"]
"""A part of a run. It gives no outcome where nothing is compared."""

CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        answer_checks.intact,
        answer_checks.recorded,
        answer_checks.golden,
        answer_checks.answers,
        answer_checks.parity,
        picture_checks.accuracy,
        picture_checks.recall,
        picture_checks.calibration,
        answer_checks.size,
        answer_checks.latency,
    )
}
"""By name, in the order in which they run.

A check raises NotCompared if it has nothing to compare with. Errors of fer_edge pass through: an
artifact that cannot be opened or run has failed.
"""

_DATA_CHECKS = frozenset({"accuracy", "recall", "calibration"})  # need labelled pictures
_PAIRED_CHECKS = frozenset({"parity", "latency"})  # compare with the fp32 reference

LASTING_CHECKS = frozenset({"intact", "golden", "parity"})
"""Those that hold for any sound model, so a new baseline is written only after they hold."""


@dataclass(frozen=True, eq=False)
class Result:
    """How a step went: an outcome, or the reason why there is none."""

    name: str
    failed: bool
    outcome: Outcome | None = None
    reason: str = ""


class Suite:
    """The checks of a model against its baseline.

    ``baseline`` has to exist: without it most checks would have nothing to compare with, and would
    pass. ``update`` records a new one instead, in a single step: it runs ``LASTING_CHECKS`` and
    writes what was measured. Pictures other than the recorded ones fail unless ``other_data`` says
    that they are meant. No artifact is opened and no picture is read before a step needs it.

    ``written`` is where the new baseline was written, ``without_latency`` the cells in it whose
    latency could not be measured because the machine was not quiet. Raises ArtifactError,
    ConfigurationError or DataError for what cannot be used.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        baseline: Path,
        *,
        data: str | Path | DataSource | None = None,
        split: str = "public-test",
        backends: Sequence[str] | None = None,
        other_data: bool = False,
        update: bool = False,
    ) -> None:
        if split not in SPLITS:
            raise ConfigurationError(f"unknown split {split!r}; there are {', '.join(SPLITS)}")
        if data is not None and not DataSource.of(data).path.exists():
            raise DataError(f"there is no FER2013 at {data}; give Kaggle's zip or folder, or a CSV")
        if other_data and data is None:
            raise ConfigurationError(
                "other pictures are allowed, but none are given; add --fer-data"
            )
        self.model = find_model(model, backends)
        self.update = update
        self.written: Path | None = None
        self.without_latency: tuple[str, ...] = ()
        self._path = baseline
        fresh = update and not os.path.exists(baseline)  # Path.exists raises where it may not look
        self._stored = Baseline(self.model.name) if fresh else Baseline.read(baseline)
        if update and self._stored.model != self.model.name:
            raise ConfigurationError(
                f"{baseline} is the baseline of the model {self._stored.model!r}, and this is "
                f"{self.model.name!r}: record this one in another file (--fer-baseline). If it is "
                "the same model under a new name, change the name in the file"
            )
        # a new baseline is not compared with the old one, but keeps its bounds
        known = replace(self._stored, cells={}) if update else self._stored
        self._run = Run(self.model, known, data, split, other_data)
        self.subjects = self._run.subjects

    def steps(self) -> dict[str, Step]:
        """Everything that a run does, in its order; opens no artifact that has a manifest."""
        if self.update:
            return {"fer::baseline": self._record}
        found: dict[str, Step] = {
            f"fer::{name}::present": partial(_lost, why) for name, why in self.lost.items()
        }
        if self._run.source is not None:
            found["fer::data"] = partial(picture_checks.pictures, self._run)
        for subject in self.subjects:
            for name in self.checks(subject):
                found[f"fer::{subject.cell.name}::{name}"] = partial(self.check, subject, name)
        return found

    def results(self) -> list[Result]:
        """Do in one call what ``pytest --fer-model`` does, and close the engines."""
        found = [Result(name, False, None, why) for name, why in self.untested.items()]
        try:
            return found + [self.run(name, step) for name, step in self.steps().items()]
        finally:
            self.close()

    def run(self, name: str, step: Step) -> Result:
        """Take one step. Errors of fer_edge are failures with a reason; others are raised."""
        try:
            outcome = step()
        except NotCompared as why:
            return Result(name, False, reason=str(why))
        except FerEdgeError as problem:
            return Result(name, True, reason=f"{type(problem).__name__}: {problem}")
        return Result(name, outcome is not None and not outcome.holds, outcome)

    def checks(self, subject: Subject) -> list[str]:
        """Names of the checks that apply to a subject, in their order."""
        left_out: set[str] = set()
        if self._run.source is None:
            left_out |= _DATA_CHECKS
        if not self.model.golden:
            left_out.add("golden")
        if subject.cell.entry is not None and subject is self._run.reference:
            left_out |= _PAIRED_CHECKS
        if self.update:
            left_out |= CHECKS.keys() - LASTING_CHECKS
        return [name for name in CHECKS if name not in left_out]

    def check(self, subject: Subject, name: str) -> Outcome:
        """Run one check, with other engines closed, as they would compete for the cores.

        Raises NotCompared if there is nothing to compare with, and the errors of an artifact that
        cannot be opened or run.
        """
        for other in self.subjects:
            if other is not subject and other is not self._run.reference:
                other.close()
        return CHECKS[name](subject)

    @property
    def lost(self) -> dict[str, str]:
        """Cells of the baseline whose artifact is no longer in the model, each with a message."""
        return {
            name: f"{file} is in the baseline and not in the model"
            for name in self._run.baseline.cells
            if (file := split_name(name)[0]) not in self.model.files
        }

    @property
    def untested(self) -> dict[str, str]:
        """Steps that the baseline has results for and this run leaves out, and why."""
        expected, tested = self._run.baseline.cells, {cell.name for cell in self.model.cells}
        found = {
            f"fer::{name}::tested": self.model.absent.get(
                split_name(name)[1], "its backend was not chosen for this run"
            )
            for name in expected
            if name not in tested and name not in self.lost
        }
        if self._run.source is None and any(cell.accuracy for cell in expected.values()):
            why = "the baseline has accuracies; without --fer-data they are not tested"
            found["fer::data"] = why
        return found

    def close(self) -> None:
        """Close every Predictor."""
        for subject in self.subjects:
            subject.close()

    def _record(self) -> None:
        """Run what holds for any sound model, then measure and write the baseline.

        The bounds stay as they are, and so do the cells of other engines. Raises GateError, and
        writes nothing, if a check does not hold: a fault must not become the standard.
        """
        recorded = {}
        for subject in self.subjects:
            for check in self.checks(subject):
                with suppress(NotCompared):
                    if not (outcome := self.check(subject, check)).holds:
                        raise GateError(
                            f"the baseline stays as it was: {subject.cell.name}::{check} does not "
                            f"hold\n{table(outcome.rows)}"
                        )
            recorded[subject.cell.name] = subject.measured()
        seen = self._run.pictures if self._run.source is not None else None
        merged = self._stored.merged(recorded, seen, self.model.hashes())
        try:
            merged.write(self._path)
        except OSError as problem:
            raise ConfigurationError(
                f"cannot write the baseline {self._path}: {problem.strerror}; give another "
                "--fer-baseline"
            ) from problem
        self.written = self._path
        self.without_latency = tuple(
            subject.cell.name
            for subject in self.subjects
            if self._run.reference not in (None, subject)
            and recorded[subject.cell.name].latency is None
        )


def _lost(reason: str) -> Outcome:
    return Outcome((Row(reason, "yes", "no", "yes", holds=False),))
