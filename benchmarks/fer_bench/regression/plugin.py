"""The pytest plugin: ``pytest --fer-model MODEL [--fer-data FER2013]``.

It is loaded into every run of pytest where fer-edge is installed, so without ``--fer-model`` it
imports nothing and adds nothing. With it, each check of each artifact on each backend of the
machine is a test of its own: ``fer::model.int8.onnx[openvino]::accuracy``.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

if TYPE_CHECKING:
    from fer_bench.regression.cells import Cell
    from fer_bench.regression.outcome import ChangedPicture, Outcome
    from fer_bench.regression.suite import Suite

__all__ = ["BASELINES"]

BASELINES = "fer_baselines"
"""Folder below pytest's root folder where baselines lie by default, one file per model."""

_MARKER = "fer_regression"
_NAMED = 20


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, all of them beginning with ``--fer-``."""
    group = parser.getgroup("fer", "accuracy regression of facial expression models (fer-edge)")
    group.addoption(
        "--fer-model",
        metavar="MODEL",
        help="test a model directory, an artifact, or 'default' (the packaged model)",
    )
    group.addoption("--fer-data", metavar="FER2013", help="zip, folder or CSV of FER2013")
    group.addoption(
        "--fer-split", metavar="SPLIT", default="public-test", help="default: %(default)s"
    )
    group.addoption(
        "--fer-other-data",
        action="store_true",
        help="the pictures are not those of the baseline, and that is meant",
    )
    group.addoption(
        "--fer-baseline",
        metavar="FILE",
        help=f"baseline to compare with (default: {BASELINES}/NAME.json in pytest's root folder, "
        "NAME being the model's)",
    )
    group.addoption(
        "--fer-update-baseline",
        action="store_true",
        help="measure, and write the baseline if what holds of any model holds of this one",
    )
    group.addoption(
        "--fer-backend",
        metavar="NAME",
        action="append",
        help="test this backend alone; may be repeated (default: every one that is installed)",
    )
    group.addoption(
        "--fer-out",
        metavar="DIR",
        help="on failure, draw the pictures that changed into DIR; keep it out of the repository",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Check the options and open the suite."""
    config.addinivalue_line("markers", f"{_MARKER}: a check of --fer-model")
    model = config.getoption("fer_model")
    if model is None:
        options = ("data", "other_data", "baseline", "update_baseline", "backend", "out")
        if given := [name for name in options if config.getoption(f"fer_{name}")]:
            raise pytest.UsageError(f"--fer-{given[0].replace('_', '-')} needs --fer-model")
        return
    if config.getoption("numprocesses", None):
        raise pytest.UsageError("--fer-model measures latency, so it does not run with -n")
    from fer_bench.regression.suite import Suite
    from fer_edge.errors import FerEdgeError

    chosen = config.getoption("fer_baseline")
    usual = config.rootpath / BASELINES / f"{Path(model).stem}.json"
    try:
        config.stash[_SUITE] = Suite(
            model,
            Path(chosen) if chosen else usual,
            data=config.getoption("fer_data"),
            split=config.getoption("fer_split"),
            backends=config.getoption("fer_backend"),
            other_data=config.getoption("fer_other_data"),
            update=config.getoption("fer_update_baseline"),
        )
    except FerEdgeError as problem:
        raise pytest.UsageError(str(problem)) from problem


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Add the checks to what the session itself collects: they lie in no file."""
    report = yield
    if isinstance(collector, pytest.Session) and _SUITE in collector.config.stash:
        model = ModelCollector.from_parent(collector, name="fer", nodeid="fer")
        report.result = [*(report.result or []), model]
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Give back what the engines hold."""
    if (suite := session.config.stash.get(_SUITE, None)) is not None:
        suite.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was not tested here, and which baseline was written."""
    stash = terminalreporter.config.stash
    suite = stash.get(_SUITE, None)
    lines = [] if suite is None else _left_out(suite)
    for line in [*lines, *stash.get(_NOTES, [])]:
        terminalreporter.write_line(line)


def _left_out(suite: Suite) -> list[str]:
    """Engines that are not here, and cells of the baseline that nothing was tested of."""
    lines = [f"{backend} is not tested: {why}" for backend, why in suite.model.absent.items()]
    if suite.untested:
        lines.append(f"in the baseline and not tested here: {', '.join(suite.untested)}")
    return lines


class ModelCollector(pytest.Collector):
    """Everything that is checked of the model."""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        """One collector per cell; what the baseline has and the model lacks fails on its own."""
        suite = self.config.stash[_SUITE]
        for name, reason in suite.lost.items():
            yield LostItem.from_parent(self, name=f"{name}::present", reason=reason)
        if suite.compares_data:
            yield DataItem.from_parent(self, name="data")
        for cell in suite.model.cells:
            yield CellCollector.from_parent(self, name=cell.name, cell=cell)
        if suite.update:
            yield SaveItem.from_parent(self, name="baseline")


class CellCollector(pytest.Collector):
    """One artifact on one backend."""

    def __init__(self, *, cell: Cell, **arguments: object) -> None:
        super().__init__(**arguments)  # type: ignore[arg-type]
        self.cell = cell

    def collect(self) -> Iterable[pytest.Item]:
        """One item per check."""
        suite = self.config.stash[_SUITE]
        for name in suite.checks(self.cell):
            yield CheckItem.from_parent(self, name=name)
        if suite.update:
            yield RecordItem.from_parent(self, name="record")

    def teardown(self) -> None:
        """The next cell does not compete with this one's threads."""
        self.config.stash[_SUITE].close(self.cell)


class _Item(pytest.Item):
    """A test that says in its own words why it failed."""

    def __init__(self, **arguments: object) -> None:
        super().__init__(**arguments)  # type: ignore[arg-type]
        self.add_marker(_MARKER)
        self.suite: Suite = self.config.stash[_SUITE]

    @property
    def cell(self) -> Cell:
        return cast("CellCollector", self.parent).cell

    def reportinfo(self) -> tuple[Path, None, str]:
        # pytest would turn the dots of a name that ends the node's id into colons
        return self.config.rootpath, None, self.nodeid.replace("::", " ")

    def repr_failure(  # type: ignore[override]
        self, excinfo: pytest.ExceptionInfo[BaseException]
    ) -> object:
        from fer_edge.errors import FerEdgeError

        if isinstance(excinfo.value, CheckFailedError):
            return str(excinfo.value)
        if isinstance(excinfo.value, FerEdgeError):
            return f"{type(excinfo.value).__name__}: {excinfo.value}"
        return super().repr_failure(excinfo)


class CheckFailedError(Exception):
    """A check that does not hold; the message is the whole report."""


class _Check(_Item):
    """Something that gives an outcome."""

    def outcome(self) -> Outcome:
        raise NotImplementedError

    def runtest(self) -> None:
        """Run the check; fails with its table, skips where there is nothing to compare with."""
        from fer_bench.regression.outcome import NotCompared

        try:
            outcome = self.outcome()
        except NotCompared as reason:
            pytest.skip(str(reason))
        if not outcome.holds:
            raise CheckFailedError(self._report(outcome))

    def _report(self, outcome: Outcome) -> str:
        from fer_bench.regression.outcome import table

        return "\n".join([self.nodeid, table(outcome.rows), *self._pictures(outcome.changed)])

    def _pictures(self, changed: tuple[ChangedPicture, ...]) -> list[str]:
        if not changed:
            return []
        lines = [f"{'worse ' if p.worse else 'better'}  {p.name}: {p.caption}" for p in changed]
        if len(lines) > _NAMED:
            lines[_NAMED:] = [f"… and {len(lines) - _NAMED} more"]
        folder = self.config.getoption("fer_out")
        if folder is None:
            return [*lines, "(--fer-out DIR draws them)"]
        from fer_bench.regression.contact_sheet import write_contact_sheet

        return [*lines, f"drawn in {write_contact_sheet(Path(folder), self.nodeid, changed)}"]


class CheckItem(_Check):
    """One check of one cell."""

    def outcome(self) -> Outcome:
        """Run it."""
        return self.suite.check(self.cell, self.name)


class DataItem(_Check):
    """Whether the pictures are those of the baseline."""

    def outcome(self) -> Outcome:
        """Compare them."""
        return self.suite.check_data()


class RecordItem(_Item):
    """Measures what the new baseline keeps of a cell."""

    def runtest(self) -> None:
        """Measure."""
        self.suite.record(self.cell)


class SaveItem(_Item):
    """Writes the new baseline, if nothing failed."""

    def runtest(self) -> None:
        """Write; skips, and leaves the old baseline, after a failure."""
        if self.suite.failed:
            pytest.skip("a check failed, so the baseline stays as it was")
        path = self.suite.save()
        self.config.stash.setdefault(_NOTES, []).append(f"wrote the baseline {path}")


class LostItem(_Item):
    """An artifact that the baseline has and the model has not."""

    def __init__(self, *, reason: str, **arguments: object) -> None:
        super().__init__(**arguments)
        self.reason = reason

    def runtest(self) -> None:
        """Fail."""
        raise CheckFailedError(self.reason)


_SUITE: pytest.StashKey[Suite] = pytest.StashKey()
_NOTES: pytest.StashKey[list[str]] = pytest.StashKey()
