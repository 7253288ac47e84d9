"""A run of pytest with ``--fer-model``: each step of the suite is a test."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from fer_bench.regression.outcome import ChangedPicture, table
from fer_bench.regression.suite import Result, Step, Suite
from fer_edge.errors import ConfigurationError
from fer_edge.system.files import write_bytes

if TYPE_CHECKING:
    from pluggy import Result as HookResult

_NAMED, _DRAWN = 20, 60
_SIDE, _CAPTION, _BORDER, _COLUMNS = 120, 34, 3, 10
_INNER = _SIDE - 2 * _BORDER
_RED, _GREEN = (60, 60, 220), (80, 170, 60)
_INK, _WHITE = (30, 30, 30), (255, 255, 255)
_FONT, _SCALE, _LINE = cv2.FONT_HERSHEY_SIMPLEX, 0.36, 15


class SuiteHooks:
    """The hooks of a run that has a suite."""

    def __init__(self, suite: Suite) -> None:
        self._suite = suite
        self._unwritten = False

    @pytest.hookimpl(hookwrapper=True)  # the newer form of wrapper needs pluggy 1.2
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, HookResult[pytest.CollectReport], None]:
        """Add the steps, which are in no file, to what the session collects."""
        made = yield
        if isinstance(collector, pytest.Session):
            found = made.get_result()
            steps = SuiteCollector.from_parent(
                collector, name="fer", nodeid="fer", suite=self._suite
            )
            found.result = [*(found.result or []), steps]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Close the engines. A recording that wrote nothing has failed."""
        suite = self._suite
        suite.close()
        listed = session.config.getoption("collectonly")
        self._unwritten = suite.update and suite.written is None and not listed
        if self._unwritten and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what was not tested, and which baseline was written."""
        suite = self._suite
        lines = [f"{backend} is not tested: {why}" for backend, why in suite.model.absent.items()]
        lines += [f"{name} is left out: {why}" for name, why in suite.untested.items()]
        if suite.written is not None:
            lines.append(f"wrote the baseline {suite.written}")
        if suite.without_latency:
            lines.append(
                f"the latency of {', '.join(suite.without_latency)} is not in it, as this machine "
                "is not quiet: record it again when nothing else runs"
            )
        if self._unwritten:
            lines.append(
                "no baseline was written: fer::baseline, the test that writes it, failed or was "
                "left out (-k, -m, --deselect)"
            )
        for line in lines:
            terminalreporter.write_line(line)


class SuiteCollector(pytest.Collector):
    """All checks of the model."""

    def __init__(self, *, suite: Suite, **arguments: object) -> None:
        super().__init__(**arguments)  # type: ignore[arg-type]
        self._suite = suite

    def collect(self) -> Iterable[pytest.Item]:
        """One test for each step."""
        for name, step in self._suite.steps().items():
            short = name.removeprefix("fer::")
            yield StepItem.from_parent(self, name=short, suite=self._suite, step=step)


class StepItem(pytest.Item):
    """One step, which reports a table instead of a traceback."""

    def __init__(self, *, suite: Suite, step: Step, **arguments: object) -> None:
        super().__init__(**arguments)  # type: ignore[arg-type]
        self.add_marker("fer_regression")
        self._suite, self._step = suite, step

    def runtest(self) -> None:
        """Take the step; skip it if there is nothing to compare with."""
        result = self._suite.run(f"fer::{self.name}", self._step)
        if result.failed:
            out = self.config.getoption("fer_out")
            pytest.fail(report(result, Path(out) if out else None), pytrace=False)
        if result.reason:
            pytest.skip(result.reason)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Report the name alone, because it is in no file."""
        # pytest would turn the dots of a name that ends the node's id into colons
        return self.config.rootpath, None, self.nodeid.replace("::", " ")


def report(result: Result, out: Path | None) -> str:
    """Why a step failed: its table and the pictures that changed, drawn into ``out``."""
    if result.outcome is None:
        return result.reason
    lines = [result.name, table(result.outcome.rows)]
    if changed := result.outcome.changed:
        lines += [_line(picture) for picture in changed[:_NAMED]]
        if len(changed) > _NAMED:
            lines.append(f"… and {len(changed) - _NAMED} more")
        drawn = out and _contact_sheet(out, result.name, changed)
        lines.append(f"drawn in {drawn}" if drawn else "(--fer-out DIR draws them)")
    return "\n".join(lines)


def _line(picture: ChangedPicture) -> str:
    return f"{'worse ' if picture.worse else 'better'}  {picture.name}: {picture.caption}"


def _contact_sheet(folder: Path, name: str, pictures: Sequence[ChangedPicture]) -> Path:
    """Draw up to ``_DRAWN`` into ``folder``; red is worse, green is better.

    ``name`` becomes the name of the file, without characters that do not belong in one. Raises
    ConfigurationError for a folder that cannot be written.
    """
    shown = sorted(pictures, key=lambda picture: not picture.worse)[:_DRAWN]
    tiles = [_tile(picture) for picture in shown]
    columns = min(_COLUMNS, len(tiles))
    blank = np.full_like(tiles[0], 255)
    tiles += [blank] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)]
    encoded = cv2.imencode(".png", np.vstack(rows))[1]
    plain = re.sub(r"[^\w.-]+", "_", name).strip("_")
    path = folder / f"{plain}.png"
    try:
        write_bytes(path, encoded.tobytes())
    except OSError as problem:
        raise ConfigurationError(
            f"cannot write the contact sheet {path}: {problem.strerror}; give another --fer-out"
        ) from problem
    return path


def _tile(picture: ChangedPicture) -> np.ndarray:
    gray = picture.pixels.ndim == 2  # noqa: PLR2004
    pixels = cv2.cvtColor(picture.pixels, cv2.COLOR_GRAY2BGR) if gray else picture.pixels
    face = cv2.resize(pixels, (_INNER, _INNER), interpolation=cv2.INTER_NEAREST)
    color, border = _RED if picture.worse else _GREEN, (_BORDER,) * 4
    tile = cv2.copyMakeBorder(face, *border, cv2.BORDER_CONSTANT, value=color)
    tile = cv2.copyMakeBorder(tile, 0, _CAPTION, 0, 0, cv2.BORDER_CONSTANT, value=_WHITE)
    for line, text in enumerate(picture.caption.split(", ", 1)):
        place = (4, _SIDE + _LINE * (line + 1) - 2)
        cv2.putText(tile, text, place, _FONT, _SCALE, _INK, 1, cv2.LINE_AA)
    return tile
