"""The progress line."""

from __future__ import annotations

import io
from collections.abc import Generator, Iterator
from types import SimpleNamespace
from typing import cast

import pytest

from fer_edge.system import progress as module
from fer_edge.system.progress import Progress, progress, track

CLEAR = "\r\033[K"


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    monkeypatch.setenv("COLUMNS", "80")
    return made


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    made = Terminal()
    monkeypatch.setattr(module, "sys", SimpleNamespace(stderr=made))
    return made


def test_nothing_is_written_to_a_pipe(clock: Clock) -> None:
    pipe = io.StringIO()
    bar = Progress(10, "reading", pipe)
    clock.now += 60
    bar.advance()
    bar.close()
    assert pipe.getvalue() == ""


@pytest.mark.parametrize(("process", "shown"), [("0", True), ("1", False)])
def test_of_several_processes_the_first_draws(
    process: str, shown: bool, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", process)
    terminal = Terminal()
    bar = Progress(10, "reading", terminal)
    clock.now += 60
    bar.advance()
    assert bool(terminal.getvalue()) == shown


def test_nothing_is_shown_in_the_first_two_seconds(clock: Clock) -> None:
    terminal = Terminal()
    bar = Progress(10, "reading", terminal)
    clock.now += 1.9
    bar.advance()
    bar.close()
    assert terminal.getvalue() == ""


def test_the_line_tells_the_share_the_rate_and_the_time_left(clock: Clock) -> None:
    terminal = Terminal()
    bar = Progress(300, "reading", terminal)
    clock.now += 10
    bar.advance(100, "loss 0.5")
    assert terminal.getvalue() == (
        f"{CLEAR}reading {'█' * 8}{'░' * 16} 100/300 10.0/s 0:20 left loss 0.5"
    )


def test_the_line_is_not_drawn_more_often_than_every_tenth_of_a_second(clock: Clock) -> None:
    terminal = Terminal()
    bar = Progress(1000, "reading", terminal)
    clock.now += 3
    for _ in range(10):
        bar.advance()
        clock.now += 0.03
    assert terminal.getvalue().count(CLEAR) == 3


def test_the_line_never_wraps(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    terminal = Terminal()
    bar = Progress(10, "a long label that leaves no room", terminal)
    clock.now += 3
    bar.advance()
    assert len(terminal.getvalue().removeprefix(CLEAR)) == 29


@pytest.mark.parametrize(("columns", "cells"), [(120, 24), (90, 14), (80, 4), (79, 0), (75, 0)])
def test_the_bar_gives_way_to_the_note(
    columns: int, cells: int, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    terminal = Terminal()
    bar = Progress(28358, "epoch 12/70, images", terminal)
    clock.now += 30
    bar.advance(12800, "loss 1.234, accuracy 56%")
    line = terminal.getvalue().removeprefix(CLEAR)
    assert line.endswith(" 12800/28358 426.7/s 0:36 left loss 1.234, accuracy 56%")
    assert line.count("█") + line.count("░") == cells
    assert line.count("█") == round(cells * 12800 / 28358)
    assert len(line) < columns


def test_more_than_was_announced_is_no_negative_time(clock: Clock) -> None:
    terminal = Terminal()
    bar = Progress(2, "reading", terminal)
    clock.now += 3
    bar.advance(5)
    assert " 0:00 left" in terminal.getvalue()


def test_nothing_at_all_is_shown_without_dividing_by_it(clock: Clock) -> None:
    terminal = Terminal()
    bar = Progress(0, "reading", terminal)
    clock.now += 3
    bar.advance(0)
    assert " 0/0 0.0/s 0:00 left" in terminal.getvalue()


def test_the_line_is_removed_at_the_end(clock: Clock, terminal: Terminal) -> None:
    with progress(10, "reading") as bar:
        clock.now += 3
        bar.advance()
    assert terminal.getvalue().endswith(f"left {CLEAR}")


def test_the_line_is_removed_when_the_work_fails(clock: Clock, terminal: Terminal) -> None:
    def interrupted() -> None:
        with progress(10, "reading") as bar:
            clock.now += 3
            bar.advance()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert terminal.getvalue().endswith(CLEAR)


def test_track_passes_every_item_on(clock: Clock, terminal: Terminal) -> None:
    def slow() -> Iterator[int]:
        for number in range(3):
            clock.now += 3
            yield number

    assert list(track(slow(), 3, "reading")) == [0, 1, 2]
    assert [f"{done}/3" in terminal.getvalue() for done in (1, 2, 3)] == [True] * 3


def test_track_removes_the_line_when_its_user_stops(clock: Clock, terminal: Terminal) -> None:
    items = cast("Generator[int]", track(range(10), 10, "reading"))
    next(items)
    clock.now += 3
    next(items)
    items.close()
    assert terminal.getvalue().endswith(CLEAR)
