"""The tests that ``pytest --fer-model`` adds: what each runs, and how it tells why it failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fer_bench.regression.cells import Cell
from fer_bench.regression.contact_sheet import write_contact_sheet
from fer_bench.regression.outcome import ChangedPicture, NotCompared, Outcome, table
from fer_bench.regression.suite import Suite
from fer_edge.errors import FerEdgeError

__all__ = [
    "CheckFailedError",
    "CheckItem",
    "DataItem",
    "LostItem",
    "RecordItem",
    "SaveItem",
]

_NAMED = 20


class _SuiteItem(pytest.Item):
    """A test that says in its own words why it failed."""

    def __init__(self, *, suite: Suite, **arguments: object) -> None:
        super().__init__(**arguments)  # type: ignore[arg-type]
        self.add_marker("fer_regression")
        self.suite = suite

    def reportinfo(self) -> tuple[Path, None, str]:
        # pytest would turn the dots of a name that ends the node's id into colons
        return self.config.rootpath, None, self.nodeid.replace("::", " ")

    def repr_failure(  # type: ignore[override]
        self, excinfo: pytest.ExceptionInfo[BaseException]
    ) -> object:
        if isinstance(excinfo.value, CheckFailedError):
            return str(excinfo.value)
        if isinstance(excinfo.value, FerEdgeError):
            return f"{type(excinfo.value).__name__}: {excinfo.value}"
        return super().repr_failure(excinfo)


class CheckFailedError(Exception):
    """A check that does not hold; the message is the whole report."""


class _Check(_SuiteItem):
    """Something that gives an outcome."""

    def outcome(self) -> Outcome:
        raise NotImplementedError

    def runtest(self) -> None:
        """Run the check; fails with its table, skips where there is nothing to compare with."""
        try:
            outcome = self.outcome()
        except NotCompared as reason:
            pytest.skip(str(reason))
        if not outcome.holds:
            raise CheckFailedError(self._report(outcome))

    def _report(self, outcome: Outcome) -> str:
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
        return [*lines, f"drawn in {write_contact_sheet(Path(folder), self.nodeid, changed)}"]


class CheckItem(_Check):
    """One check of one cell."""

    def __init__(self, *, cell: Cell, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.cell = cell

    def outcome(self) -> Outcome:
        """Run it."""
        return self.suite.check(self.cell, self.name)


class DataItem(_Check):
    """Whether the pictures are those of the baseline."""

    def outcome(self) -> Outcome:
        """Compare them."""
        return self.suite.check_data()


class RecordItem(_SuiteItem):
    """Measures what the new baseline keeps of a cell."""

    def __init__(self, *, cell: Cell, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.cell = cell

    def runtest(self) -> None:
        """Measure."""
        self.suite.record(self.cell)


class SaveItem(_SuiteItem):
    """Writes the new baseline, if nothing failed."""

    def runtest(self) -> None:
        """Write; skips, and leaves the old baseline, after a failure."""
        if self.suite.failed:
            pytest.skip("a check failed, so the baseline stays as it was")
        self.suite.save()


class LostItem(_SuiteItem):
    """An artifact that the baseline has and the model has not."""

    def __init__(self, *, reason: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.reason = reason

    def runtest(self) -> None:
        """Fail."""
        raise CheckFailedError(self.reason)
