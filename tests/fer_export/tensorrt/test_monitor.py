"""Progress of a build, and Ctrl-C during it."""

from __future__ import annotations

import io
import signal
from typing import Any

import pytest
from tensorrt_double.engine import TensorRtDouble


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def monitored(tensorrt: TensorRtDouble) -> tuple[Any, Any]:
    """A bar, and the monitor that moves it."""
    from fer_edge.system.progress import Progress
    from fer_export.tensorrt.monitor import BuildMonitor, Interrupt

    bar = Progress(100, "building", Terminal())
    return bar, BuildMonitor(bar, Interrupt())


def test_nested_phases_move_one_bar_forward(monitored: tuple[Any, Any]) -> None:
    bar, monitor = monitored
    seen = [bar.done]
    monitor.phase_start("outer", "", 2)
    for _ in range(2):
        monitor.phase_start("inner", "outer", 4)
        for step in range(4):
            assert monitor.step_complete("inner", step)
            seen.append(bar.done)
        monitor.phase_finish("inner")
        assert monitor.step_complete("outer", len(seen) // 5)
        seen.append(bar.done)
    monitor.phase_finish("outer")
    assert seen == sorted(seen)
    assert seen[1:3] == [12, 25]
    assert seen[-1] == 100


def test_a_second_outermost_phase_does_not_move_the_bar_back(monitored: tuple[Any, Any]) -> None:
    bar, monitor = monitored
    for name in ("first", "second"):
        monitor.phase_start(name, None, 2)
        monitor.step_complete(name, 0)
        assert bar.done == 50
        monitor.phase_finish(name)


# ---- Ctrl-C


def test_nothing_that_a_callback_could_lose_is_raised_in_it(tensorrt: TensorRtDouble) -> None:
    from fer_edge.system.progress import Progress
    from fer_export.tensorrt.monitor import BuildMonitor, catch_interrupt

    answers = []

    def build() -> None:
        with catch_interrupt() as interrupt:
            monitor = BuildMonitor(Progress(100, "building", Terminal()), interrupt)
            answers.append(monitor.step_complete("any", 0))
            signal.raise_signal(signal.SIGINT)  # os.kill may reach it later, by another thread
            answers.append(monitor.step_complete("any", 1))

    with pytest.raises(KeyboardInterrupt):
        build()
    assert answers == [True, False]
