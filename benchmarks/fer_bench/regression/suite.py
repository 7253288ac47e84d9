"""The whole suite: the steps of a run, how each went, and the baseline that a run records."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from fer_bench.regression.artifact_checks import answers, golden, intact, recorded, size
from fer_bench.regression.baseline import Baseline, RecordedCell
from fer_bench.regression.cells import Cell, find_model
from fer_bench.regression.outcome import NotCompared, Outcome, Row
from fer_bench.regression.picture_checks import accuracy, calibration, recall
from fer_bench.regression.pictures import EvaluationData, check_data, load_data
from fer_bench.regression.probes import probes
from fer_bench.regression.recording import artifact_of, backend_of, merge, record
from fer_bench.regression.reference_checks import latency, parity
from fer_bench.regression.subject import Subject
from fer_edge.errors import ConfigurationError, DataError, FerEdgeError, GateError
from fer_edge.evaluation.data_source import DataSource
from fer_edge.evaluation.fer2013 import SPLITS

__all__ = [
    "CHECKS",
    "DATA_CHECKS",
    "LASTING_CHECKS",
    "PAIRED_CHECKS",
    "Check",
    "Result",
    "Step",
    "Suite",
]

Check = Callable[[Subject], Outcome]

CHECKS: dict[str, Check] = {
    "intact": intact,
    "recorded": recorded,
    "golden": golden,
    "answers": answers,
    "parity": parity,
    "accuracy": accuracy,
    "recall": recall,
    "calibration": calibration,
    "size": size,
    "latency": latency,
}
"""By name, in the order in which they run.

A check raises NotCompared where it has nothing to compare with, and lets errors of fer_edge pass:
an artifact that cannot be opened or run has failed.
"""

DATA_CHECKS = frozenset({"accuracy", "recall", "calibration"})
"""Those that need labelled pictures."""

PAIRED_CHECKS = frozenset({"parity", "latency"})
"""Those that compare with the fp32 reference."""

LASTING_CHECKS = frozenset({"intact", "golden", "parity"})
"""Those that have to hold of any model, so that a new baseline has to pass them too."""

_REFERENCE_BACKEND = "onnxruntime"


@dataclass(frozen=True)
class Step:
    """A part of the run, called ``name``; without an outcome where nothing is compared."""

    name: str
    do: Callable[[], Outcome | None]


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
    pass. ``update`` records a new one: only the checks that have to hold of any model are run, and
    the last step writes what was measured. Nothing but the manifest and the baseline is opened
    before a step needs it. Raises ArtifactError, ConfigurationError or DataError for what cannot
    be used.

    ``failed`` tells whether a step has failed so far, ``written`` where the new baseline was
    written. Pictures other than the recorded ones fail, unless ``other_data`` says that they are
    meant.
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
            raise ConfigurationError("other pictures are meant and none are given; add --fer-data")
        self.model = find_model(model, backends)
        self.update = update
        self.failed = False
        self.written: Path | None = None
        self._other_data = other_data
        self._path = baseline
        self._data_path, self._split = data, split
        fresh = update and not os.path.exists(baseline)  # Path.exists raises where it may not look
        self._stored = Baseline(self.model.name) if fresh else Baseline.read(baseline)
        if update and self._stored.model != self.model.name:
            raise ConfigurationError(
                f"{baseline} is the baseline of the model {self._stored.model!r}, and this is "
                f"{self.model.name!r}: record this one in another file (--fer-baseline). If it is "
                "the same model under a new name, change the name in the file"
            )
        self._recorded: dict[str, RecordedCell] = {}
        self._held: set[str] = set()
        self._subjects: dict[str, Subject] = {}

    def steps(self) -> list[Step]:
        """Everything that a run does, in its order; opens no artifact that has a manifest."""
        found = [Step(f"fer::{n}::present", partial(_lost, why)) for n, why in self.lost.items()]
        if self._data_path is not None and not self.update:
            found.append(Step("fer::data", self._check_data))
        for cell in self.model.cells:
            found += [
                Step(f"fer::{cell.name}::{name}", partial(self.check, cell, name))
                for name in self.checks(cell)
            ]
            if self.update:
                found.append(Step(f"fer::{cell.name}::record", partial(self._record, cell)))
        if self.update:
            found.append(Step("fer::baseline", self._save))
        return found

    def results(self) -> list[Result]:
        """Do in one call what ``pytest --fer-model`` does, and close the engines."""
        found = [Result(f"fer::{n}::tested", False, None, why) for n, why in self.untested.items()]
        if self.without_data:
            found.append(Result("fer::data", False, None, self.without_data))
        try:
            return found + [self.run(step) for step in self.steps()]
        finally:
            self.close()

    def run(self, step: Step) -> Result:
        """Take one step. Errors of fer_edge are failures with a reason; others are raised."""
        try:
            outcome = step.do()
        except NotCompared as reason:
            self._held.add(step.name)
            return Result(step.name, False, None, str(reason))
        except FerEdgeError as problem:
            self.failed = True
            return Result(step.name, True, None, f"{type(problem).__name__}: {problem}")
        except Exception:
            self.failed = True
            raise
        if outcome is None or outcome.holds:
            self._held.add(step.name)
            return Result(step.name, False, outcome)
        self.failed = True
        return Result(step.name, True, outcome)

    def checks(self, cell: Cell) -> list[str]:
        """Names of the checks that apply to a cell, in their order."""
        left_out = set() if self._data_path is not None else set(DATA_CHECKS)
        left_out |= set() if self.model.golden else {"golden"}
        if cell.entry is not None and self.reference is self._subject(cell):
            left_out |= PAIRED_CHECKS
        if self.update:
            left_out |= CHECKS.keys() - LASTING_CHECKS
        return [name for name in CHECKS if name not in left_out]

    def check(self, cell: Cell, name: str) -> Outcome:
        """Run one check of a cell.

        Raises NotCompared where there is nothing to compare with, and whatever the artifact
        raises that cannot be opened or run.
        """
        return CHECKS[name](self._ready(cell))

    @cached_property
    def data(self) -> EvaluationData | None:
        """The labelled pictures, read once; None if none were given."""
        if self._data_path is None:
            return None
        spec = None
        with suppress(FerEdgeError):  # of an artifact that does not open each check tells
            spec = None if self.reference is None else self.reference.spec
        return load_data(self._data_path, self._split, spec)

    @cached_property
    def reference(self) -> Subject | None:
        """The first fp32 artifact, on ONNX Runtime where that opens it.

        An artifact without a manifest tells its own precision, unless it cannot be opened.
        """
        fitting = [c for c in self.model.cells if self._precision(c) == "fp32"]
        same = [c for c in fitting if c.file == fitting[0].file and c.backend == _REFERENCE_BACKEND]
        return self._subject((same or fitting)[0]) if fitting else None

    @property
    def lost(self) -> dict[str, str]:
        """Cells of the baseline whose artifact is no longer in the model, each with a message."""
        gone = [name for name in self._expected if artifact_of(name) not in self.model.files]
        return {n: f"{artifact_of(n)} is in the baseline and not in the model" for n in gone}

    @property
    def untested(self) -> dict[str, str]:
        """Cells of the baseline whose artifact is there and is not tested, and why."""
        tested = {cell.name for cell in self.model.cells}
        return {
            name: self.model.absent.get(backend_of(name), "its backend was not chosen for this run")
            for name in self._expected
            if name not in tested and artifact_of(name) in self.model.files
        }

    @property
    def without_data(self) -> str:
        """A message if the baseline has accuracies and this run has no pictures; else empty."""
        if self._data_path is not None or not any(c.accuracy for c in self._expected.values()):
            return ""
        return "the baseline has accuracies; without --fer-data they are not tested"

    def close(self) -> None:
        """Close every Predictor."""
        for subject in self._subjects.values():
            subject.close()

    def _check_data(self) -> Outcome:
        assert self.data is not None  # noqa: S101 - a step of runs that have pictures
        return check_data(self._stored, self.data, other_data=self._other_data)

    def _record(self, cell: Cell) -> None:
        """Measure what the new baseline keeps of a cell."""
        if self.failed:
            raise NotCompared("a check failed, so nothing is recorded")
        self._recorded[cell.name] = record(self._ready(cell))

    def _save(self) -> None:
        """Write the baseline with everything that was recorded.

        Its bounds stay as they are, and so do its cells of other engines. Nothing is written after
        a failure, or unless every check that has to hold of any model was run.
        """
        if self.failed:
            raise NotCompared("a check failed, so the baseline stays as it was")
        self._demand_checks()
        seen = None if self.data is None else self.data.record
        merged = merge(self._stored, self._recorded, seen, self.model.hashes())
        try:
            merged.write(self._path)
        except OSError as problem:
            raise ConfigurationError(
                f"cannot write the baseline {self._path}: {problem.strerror}; give another "
                "--fer-baseline"
            ) from problem
        self.written = self._path

    def _demand_checks(self) -> None:
        """Refuse to record what nobody checked: that would make a fault the standard."""
        lacking = [
            f"{name} of {cell.name}"
            for cell in self.model.cells
            if cell.name in self._recorded
            for name in self.checks(cell)
            if f"fer::{cell.name}::{name}" not in self._held
        ]
        if lacking or not self._recorded:
            why = f"not seen to hold: {', '.join(lacking)}" if lacking else "nothing was recorded"
            raise GateError(
                f"the baseline stays as it was; {why}. It is written only if "
                f"{', '.join(sorted(LASTING_CHECKS))} were run and hold of each artifact in it: "
                "run --fer-update-baseline without -k, -m and --deselect"
            )

    def _ready(self, cell: Cell) -> Subject:
        """The subject with what its checks compare it with.

        Other engines are closed: they would compete with this one for the cores.
        """
        subject, reference = self._subject(cell), self.reference
        for other in self._subjects.values():
            if other is not subject and other is not reference:
                other.close()
        for used in (subject, reference):
            if used is not None:
                used.data = self.data
        if reference is not subject:
            subject.reference = reference
        return subject

    def _subject(self, cell: Cell) -> Subject:
        if cell.name not in self._subjects:
            # a new baseline is not compared with the old one, but keeps its bounds
            known = replace(self._stored, cells={}) if self.update else self._stored
            self._subjects[cell.name] = Subject(
                cell,
                self.model.name,
                self._probes,
                self.model.golden,
                known,
                other_data=self._other_data,
            )
        return self._subjects[cell.name]

    def _precision(self, cell: Cell) -> str | None:
        try:
            return self._subject(cell).precision
        except FerEdgeError:
            return None  # each check of the cell fails with this error

    @property
    def _expected(self) -> dict[str, RecordedCell]:
        """What the model is compared with; nothing if a new baseline is recorded."""
        return {} if self.update else self._stored.cells

    @cached_property
    def _probes(self) -> dict[str, np.ndarray]:
        return probes()


def _lost(reason: str) -> Outcome:
    return Outcome((Row(reason, "yes", "no", "yes", holds=False),))
