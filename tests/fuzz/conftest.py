"""What fuzzing shares: how many inputs, and what a function may do with any of them.

``FER_FUZZ_EXAMPLES`` sets the number of inputs of each test (``make fuzz``); without it they are
few, and the same in every run.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import re
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

import pytest
from hypothesis import HealthCheck, Verbosity, settings

from fer_edge.errors import FerEdgeError

_EXAMPLES = int(os.environ.get("FER_FUZZ_EXAMPLES", "0"))
_SECONDS, _HANGS = 1.0, 60.0
_MAX_GROWTH = 1 << 30

settings.register_profile(
    "fuzz",
    max_examples=_EXAMPLES or 60,
    derandomize=not _EXAMPLES,
    database=None,
    deadline=None,  # that of hypothesis counts what other processes do, too
    print_blob=True,
    verbosity=Verbosity.normal,
    suppress_health_check=list(HealthCheck),
)

Survive = Callable[..., Any]


@contextmanager
def ended_where_it_hangs(terminal: TextIO, seconds: float) -> Iterator[None]:
    """End the process, its stacks written to ``terminal``, if this is not left in time.

    By SIGALRM, which ends a process that has no handler for it: faulthandler's own timer starts a
    thread each time, which takes a millisecond, longer than most of the calls.
    """
    faulthandler.register(signal.SIGALRM, file=terminal, chain=True)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.unregister(signal.SIGALRM)


@pytest.fixture(scope="session")
def terminal(pytestconfig: pytest.Config) -> Iterator[TextIO]:
    """Standard error behind pytest's capture, which an ended process takes with it."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    with capture.global_and_fixture_disabled():
        behind = os.fdopen(os.dup(2), "w")
    with behind:
        yield behind


@pytest.fixture(scope="session")
def survive(terminal: TextIO) -> Survive:
    """Call a function that may return or raise a FerEdgeError, within a second of processor time.

    Returns what the function returns, or the error. That second is of all threads. A call that
    waits counts none; after a minute the whole run ends, and says where it stood. The process may
    not grow by a gigabyte meanwhile (300 MB of pixels, thrice); what hypothesis keeps of its inputs
    between the calls does not count.
    """

    def call(function: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
        gc.disable()  # after many inputs, a look through all that hypothesis keeps takes a second
        held, start = forget_peak(), time.process_time()
        try:
            with ended_where_it_hangs(terminal, _HANGS):
                result = function(*arguments, **settings)
        except FerEdgeError as problem:
            result = problem
        finally:
            gc.enable()
        taken = time.process_time() - start
        grown = peak() - held
        assert not isinstance(result, FerEdgeError) or str(result), "an error that says nothing"
        assert grown < _MAX_GROWTH, f"the process grew by {grown >> 20} MB"
        assert taken < _SECONDS, f"{taken:.2f} s of processor time"
        return result

    return call


def forget_peak() -> int:
    """Let Linux count the peak from here on, and give the bytes that are resident now.

    Elsewhere both stay the peak of the process's life.
    """
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return peak()


def peak() -> int:
    """The most bytes that were resident."""
    try:
        told = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        told = None
    return 1024 * (int(told[1]) if told else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all inputs of a test."""
    return tmp_path_factory.mktemp("fuzz")
