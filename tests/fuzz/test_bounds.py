"""The bounds that fuzzing puts on a call are real: each is broken on purpose."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_edge.errors import DataError

CONFTEST = Path(__file__).with_name("conftest.py")
LOAD = f"""
import importlib.util, sys, time
spec = importlib.util.spec_from_file_location("bounds", {str(CONFTEST)!r})
bounds = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bounds)
"""
HANG = """
with bounds.ended_where_it_hangs(sys.stderr, 0.2):
    time.sleep(60)
"""
IN_TIME = """
with bounds.ended_where_it_hangs(sys.stderr, 0.5):
    pass
time.sleep(1)
"""
GROW = """
import numpy
numpy.ones(100 << 20, numpy.uint8)
earlier = bounds.peak()
before = bounds.forget_peak()
if earlier - before < 90 << 20:
    sys.exit("the peak cannot be forgotten here")
numpy.ones(50 << 20, numpy.uint8)
assert 40 << 20 < bounds.peak() - before < 80 << 20
"""


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", LOAD + script], capture_output=True, text=True, check=False
    )


def test_a_call_that_waits_for_ever_ends_the_run_and_says_where() -> None:
    begin = time.monotonic()
    done = run(HANG)
    assert done.returncode == -signal.SIGALRM
    assert "most recent call first" in done.stderr
    assert 'File "<string>"' in done.stderr
    assert time.monotonic() - begin < 50


def test_a_call_that_returns_in_time_ends_nothing() -> None:
    assert run(IN_TIME).returncode == 0


def test_growth_below_an_earlier_peak_shows() -> None:
    done = run(GROW)
    if "cannot be forgotten" in done.stderr:
        pytest.skip("this system does not count the peak of memory anew (/proc/self/clear_refs)")
    assert done.returncode == 0, done.stderr


def test_what_is_returned_or_refused_comes_back(survive: Any) -> None:
    def refuse() -> None:
        raise DataError("no")

    assert survive(int, "7") == 7
    assert isinstance(survive(refuse), DataError)
    with pytest.raises(ZeroDivisionError):
        survive(lambda: 1 // 0)


def test_a_second_of_processor_time_is_too_much(survive: Any) -> None:
    def work() -> None:
        end = time.thread_time() + 1.1
        while time.thread_time() < end:
            np.ones(1000).sum()

    with pytest.raises(AssertionError, match="processor time"):
        survive(work)

    def work_elsewhere() -> None:
        other = threading.Thread(target=work)
        other.start()
        other.join()

    with pytest.raises(AssertionError, match="processor time"):
        survive(work_elsewhere)


def test_a_gigabyte_is_too_much(survive: Any) -> None:
    def grow() -> None:
        np.ones(1100 << 20, np.uint8)

    with pytest.raises(AssertionError, match=r"the process grew by 1[01]\d\d MB"):
        survive(grow)
    assert survive(int, "7") == 7  # it was given back, and is forgotten
