"""What a run of pytest does with ``--fer-model``: adds the checks, and tells what was left out."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING

import pytest

from fer_bench.regression.cells import Cell
from fer_bench.regression.items import CheckItem, DataItem, LostItem, RecordItem, SaveItem
from fer_bench.regression.suite import Suite

if TYPE_CHECKING:
    from pluggy import Result

__all__ = ["CellCollector", "ModelCollector", "SuiteHooks"]


class SuiteHooks:
    """The hooks of a run that has a suite."""

    def __init__(self, suite: Suite) -> None:
        self._suite = suite
        self._unwritten = False

    @pytest.hookimpl(hookwrapper=True)  # the newer form of wrapper needs pluggy 1.2
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, Result[pytest.CollectReport], None]:
        """Add the checks to what the session itself collects: they lie in no file."""
        made = yield
        if isinstance(collector, pytest.Session):
            report = made.get_result()
            model = ModelCollector.from_parent(
                collector, name="fer", nodeid="fer", suite=self._suite
            )
            report.result = [*(report.result or []), model]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Give back what the engines hold; a recording that wrote nothing has failed."""
        self._suite.close()
        self._unwritten = (
            self._suite.update
            and self._suite.written is None
            and not session.config.getoption("collectonly")
        )
        if self._unwritten and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what was not tested here, and which baseline was written."""
        for line in _left_out(self._suite):
            terminalreporter.write_line(line)
        if self._suite.written is not None:
            terminalreporter.write_line(f"wrote the baseline {self._suite.written}")
        if self._unwritten:
            terminalreporter.write_line(
                "no baseline was written: that is fer::baseline, the last of the tests of "
                "--fer-update-baseline, which runs if none was left out (-k, -m, --deselect) and "
                "all hold"
            )


def _left_out(suite: Suite) -> list[str]:
    """Engines that are not here, and what the baseline has that nothing was held against."""
    lines = [f"{backend} is not tested: {why}" for backend, why in suite.model.absent.items()]
    if suite.untested:
        lines.append(f"in the baseline and not tested here: {', '.join(suite.untested)}")
    return [*lines, suite.without_data] if suite.without_data else lines


class ModelCollector(pytest.Collector):
    """Everything that is checked of the model."""

    def __init__(self, *, suite: Suite, **arguments: object) -> None:
        super().__init__(**arguments)  # type: ignore[arg-type]
        self.suite = suite

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        """One collector per cell; what the baseline has and the model lacks fails on its own."""
        suite = self.suite
        for name, reason in suite.lost.items():
            yield LostItem.from_parent(self, name=f"{name}::present", suite=suite, reason=reason)
        if suite.compares_data:
            yield DataItem.from_parent(self, name="data", suite=suite)
        for cell in suite.model.cells:
            yield CellCollector.from_parent(self, name=cell.name, suite=suite, cell=cell)
        if suite.update:
            yield SaveItem.from_parent(self, name="baseline", suite=suite)


class CellCollector(pytest.Collector):
    """One artifact on one backend."""

    def __init__(self, *, suite: Suite, cell: Cell, **arguments: object) -> None:
        super().__init__(**arguments)  # type: ignore[arg-type]
        self.suite, self.cell = suite, cell

    def collect(self) -> Iterable[pytest.Item]:
        """One item per check."""
        suite, cell = self.suite, self.cell
        for name in suite.checks(cell):
            yield CheckItem.from_parent(self, name=name, suite=suite, cell=cell)
        if suite.update:
            yield RecordItem.from_parent(self, name="record", suite=suite, cell=cell)

    def teardown(self) -> None:
        """The next cell does not compete with this one's threads."""
        self.suite.close(self.cell)
