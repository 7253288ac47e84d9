"""The whole suite: what to test, how each check went, and the baseline that it leaves."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from fer_bench.regression.baseline import Baseline, RecordedCell, RecordedData
from fer_bench.regression.cells import Cell, find_model
from fer_bench.regression.checks import CHECKS, DATA_CHECKS, LASTING_CHECKS, PAIRED_CHECKS
from fer_bench.regression.data_check import check_data
from fer_bench.regression.evaluation import EvaluationData, load_data
from fer_bench.regression.outcome import NotCompared, Outcome
from fer_bench.regression.probes import probes
from fer_bench.regression.recording import artifact_of, backend_of, merge, record
from fer_bench.regression.subject import Subject
from fer_edge.errors import ConfigurationError, DataError, FerEdgeError, GateError
from fer_edge.evaluation.fer2013 import SPLITS

__all__ = ["Result", "Suite", "run_suite"]

_REFERENCE_BACKEND = "onnxruntime"


@dataclass(frozen=True, eq=False)
class Result:
    """How one check of one cell went: an outcome, or the reason why there is none."""

    name: str
    failed: bool
    outcome: Outcome | None = None
    reason: str = ""


class Suite:
    """The checks of a model against its baseline.

    ``baseline`` has to exist: without it most checks would have nothing to compare with, and pass.
    ``update`` records a new one: only what has to hold of any model is checked, and ``save`` writes
    what was measured. Nothing but the manifest and the baseline is opened before a check needs it.
    Raises ArtifactError, ConfigurationError or DataError for what cannot be used.

    ``failed`` tells whether a check or a recording has failed so far, ``written`` where the new
    baseline was written. Pictures other than the recorded ones fail, unless ``other_data`` says
    that they are meant.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        baseline: Path,
        *,
        data: str | os.PathLike[str] | None = None,
        split: str = "public-test",
        backends: Sequence[str] | None = None,
        other_data: bool = False,
        update: bool = False,
    ) -> None:
        if split not in SPLITS:
            raise ConfigurationError(f"unknown split {split!r}; there are {', '.join(SPLITS)}")
        if data is not None and not Path(data).exists():
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
                f"{self.model.name!r}: record this one in another file (--fer-baseline); or, where "
                "it is the same under a new name, put that into the file"
            )
        self._recorded: dict[str, RecordedCell] = {}
        self._held: set[tuple[str, str]] = set()
        self._subjects: dict[str, Subject] = {}

    @cached_property
    def data(self) -> EvaluationData | None:
        """The labelled pictures, read once; None without."""
        return None if self._data_path is None else load_data(self._data_path, self._split)

    @cached_property
    def reference(self) -> Subject | None:
        """The first fp32 artifact, on ONNX Runtime where that opens it.

        One without a manifest tells its precision itself, unless it cannot be opened.
        """
        fitting = [c for c in self.model.cells if self._precision(c) == "fp32"]
        same = [c for c in fitting if c.file == fitting[0].file and c.backend == _REFERENCE_BACKEND]
        return self._subject((same or fitting)[0]) if fitting else None

    @property
    def lost(self) -> dict[str, str]:
        """Cells of the baseline whose artifact is not in the model any more, and how to say so."""
        gone = [name for name in self._expected if artifact_of(name) not in self.model.files]
        return {n: f"{artifact_of(n)} is in the baseline and not in the model" for n in gone}

    @property
    def untested(self) -> dict[str, str]:
        """Cells of the baseline whose artifact is there and is not tested, and why."""
        tested = {cell.name for cell in self.model.cells}
        return {
            name: self.model.absent.get(backend_of(name), "its backend does not take part here")
            for name in self._expected
            if name not in tested and artifact_of(name) in self.model.files
        }

    @property
    def without_data(self) -> str:
        """What the baseline has and this run, without pictures, cannot compare; or empty."""
        if self._data_path is not None or not any(c.accuracy for c in self._expected.values()):
            return ""
        return "the baseline has accuracies; without --fer-data they are not tested"

    @property
    def compares_data(self) -> bool:
        """Whether there are pictures to hold against those of a baseline; opens nothing."""
        return self._data_path is not None and not self.update

    def check_data(self) -> Outcome:
        """Check once for all cells that the pictures are the recorded ones.

        Raises NotCompared as ``check`` does, and DataError for other pictures.
        """
        data = self.data
        if data is None:
            raise NotCompared("no pictures were given; --fer-data")
        try:
            return check_data(self._stored, data, other_data=self._other_data)
        except DataError:
            self.failed = True
            raise

    def checks(self, cell: Cell) -> list[str]:
        """Names of the checks that apply to a cell, in their order; opens nothing."""
        left_out = set() if self._data_path is not None else set(DATA_CHECKS)
        left_out |= set() if self.model.golden else {"golden"}
        if cell.entry is not None and self.reference is self._subject(cell):
            left_out |= PAIRED_CHECKS
        if self.update:
            left_out |= CHECKS.keys() - LASTING_CHECKS
        return [name for name in CHECKS if name not in left_out]

    def check(self, cell: Cell, name: str) -> Outcome:
        """Run one check.

        Raises NotCompared where there is nothing to compare with, and whatever the artifact
        raises that cannot be opened or run.
        """
        try:
            outcome = CHECKS[name](self._ready(cell))
        except NotCompared:
            self._held.add((cell.name, name))
            raise
        except Exception:
            self.failed = True
            raise
        self.failed |= not outcome.holds
        if outcome.holds:
            self._held.add((cell.name, name))
        return outcome

    def record(self, cell: Cell) -> None:
        """Measure what a baseline keeps of a cell, for ``save``; raises as ``check`` does."""
        try:
            self._recorded[cell.name] = record(self._ready(cell))
        except Exception:
            self.failed = True
            raise

    def save(self) -> None:
        """Write the baseline with everything that was recorded.

        Its bounds stay as they are, and so do its cells of engines that take no part here. Raises
        GateError, and leaves the file as it is, unless something was recorded and all that has to
        hold of any model was seen to hold of it; ConfigurationError where it cannot be written.
        """
        self._demand_checks()
        data = self.data
        seen = None if data is None else RecordedData(data.split, len(data.crops), data.sha256)
        merged = merge(self._stored, self._recorded, seen, self.model.hashes())
        try:
            merged.write(self._path)
        except OSError as problem:
            raise ConfigurationError(
                f"cannot write the baseline {self._path}: {problem.strerror}; give another "
                "--fer-baseline"
            ) from problem
        self.written = self._path

    def close(self, cell: Cell | None = None) -> None:
        """Close the Predictors of a cell, the reference's excepted; or all."""
        for name, subject in self._subjects.items():
            if cell is None or (name == cell.name and subject is not self.reference):
                subject.close()

    def _subject(self, cell: Cell) -> Subject:
        if cell.name not in self._subjects:
            # a new baseline is not held against the old one, but has its bounds
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
            return None  # each check of the cell fails with it

    def _ready(self, cell: Cell) -> Subject:
        subject, reference = self._subject(cell), self.reference
        for used in (subject, reference):
            if used is not None:
                used.data = self.data
        if reference is not subject:
            subject.reference = reference
        return subject

    def _demand_checks(self) -> None:
        """A recording of what nobody checked would make a fault the standard."""
        lacking = [
            f"{name} of {cell.name}"
            for cell in self.model.cells
            if cell.name in self._recorded
            for name in self.checks(cell)
            if name in LASTING_CHECKS and (cell.name, name) not in self._held
        ]
        if lacking or not self._recorded:
            why = f"not seen to hold: {', '.join(lacking)}" if lacking else "nothing was recorded"
            raise GateError(
                f"the baseline stays as it was; {why}. It is written only if "
                f"{', '.join(sorted(LASTING_CHECKS))} were run and hold of each artifact in it: "
                "run --fer-update-baseline without -k, -m and --deselect"
            )

    @property
    def _expected(self) -> dict[str, RecordedCell]:
        """What the model is held against; nothing where a new baseline is recorded."""
        return {} if self.update else self._stored.cells

    @cached_property
    def _probes(self) -> dict[str, np.ndarray]:
        return probes()


def run_suite(
    model: str | os.PathLike[str],
    baseline: Path,
    *,
    data: str | os.PathLike[str] | None = None,
    split: str = "public-test",
    backends: Sequence[str] | None = None,
    other_data: bool = False,
    update: bool = False,
) -> list[Result]:
    """Do in one call what ``pytest --fer-model`` does; ``update`` writes the baseline.

    With ``update``, a baseline is written only if all holds that has to hold of any model. Raises
    as ``Suite`` does.
    """
    suite = Suite(
        model,
        baseline,
        data=data,
        split=split,
        backends=backends,
        other_data=other_data,
        update=update,
    )
    results = [Result(f"fer::{n}::present", True, None, why) for n, why in suite.lost.items()]
    results += [Result(f"fer::{n}::tested", False, None, w) for n, w in suite.untested.items()]
    try:
        if suite.without_data:
            results.append(Result("fer::data", False, None, suite.without_data))
        if suite.compares_data:
            results.append(_result("fer::data", suite.check_data))
        for cell in suite.model.cells:
            results += [
                _result(f"fer::{cell.name}::{name}", partial(suite.check, cell, name))
                for name in suite.checks(cell)
            ]
            if update and not suite.failed:
                suite.record(cell)
            suite.close(cell)
        if update and not suite.failed:
            suite.save()
    finally:
        suite.close()
    return results


def _result(name: str, check: Callable[[], Outcome]) -> Result:
    try:
        outcome = check()
    except NotCompared as reason:
        return Result(name, False, None, str(reason))
    except FerEdgeError as problem:
        return Result(name, True, None, f"{type(problem).__name__}: {problem}")
    return Result(name, not outcome.holds, outcome)
