"""What happens in a child of fork."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable

import pytest

SECONDS = 60


def in_a_child(act: Callable[[], object]) -> str:
    """What a function gives in a child, or its error, as text.

    The child ends as those of multiprocessing do. Skips the test on a system without fork.
    """
    if not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")
    receive, send = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads in the parent
        child = os.fork()
    if child == 0:
        signal.alarm(SECONDS)  # ends a child that waits for ever, and with it the test
        try:
            outcome = str(act())
        except BaseException as problem:
            outcome = f"{type(problem).__name__}: {problem}"
        os.write(send, outcome.encode())
        os._exit(0)
    os.close(send)
    with os.fdopen(receive) as stream:
        outcome = stream.read()
    assert os.waitpid(child, 0) == (child, 0)
    return outcome
