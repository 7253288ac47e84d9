"""What fuzzing shares: how many inputs, and what a function may do with any of them.

``FER_FUZZ_EXAMPLES`` sets the number of inputs of each test (``make fuzz``); without it they are
few, and the same in every run.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Verbosity, settings

from fer_edge.errors import FerEdgeError

_EXAMPLES = int(os.environ.get("FER_FUZZ_EXAMPLES", "0"))
_SECONDS = 1.0
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


@pytest.fixture(scope="session")
def survive() -> Survive:
    """Call a function that may return or raise a FerEdgeError, within a second of its own time.

    Returns what the function returns, or the error.
    """

    def call(function: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
        start = time.thread_time()
        try:
            result = function(*arguments, **settings)
        except FerEdgeError as problem:
            result = problem
        taken = time.thread_time() - start
        assert not isinstance(result, FerEdgeError) or str(result), "an error that says nothing"
        assert taken < _SECONDS, f"{taken:.2f} s of processor time"
        return result

    return call


@pytest.fixture(autouse=True, scope="module")
def bounded_memory() -> Iterator[None]:
    """No input makes the process grow by more than a gigabyte (300 MB of pixels, thrice)."""
    before = _peak()
    yield
    assert _peak() - before < _MAX_GROWTH


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
