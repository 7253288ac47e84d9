"""What happens in a child of fork, also of one in the middle of a call."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from fer_edge.system.calls import under_way

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


@contextmanager
def another_thread_in_a_call() -> Iterator[None]:
    """Another thread is in a call of fer_edge's for the whole block."""
    begun, enough = threading.Event(), threading.Event()

    @under_way
    def work() -> None:
        begun.set()
        enough.wait(20)

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(10)
    try:
        yield
    finally:
        enough.set()
        thread.join()
