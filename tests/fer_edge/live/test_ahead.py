"""Items that are made ahead, within bounds."""

from __future__ import annotations

import gc
import itertools
import threading
from collections.abc import Iterator

import pytest
from forked import in_a_child

from fer_edge.errors import ClosedError
from fer_edge.live.ahead import Ahead


def test_gives_everything_in_order() -> None:
    assert list(Ahead(iter(range(100)))) == list(range(100))


def test_makes_no_more_than_fit() -> None:
    made: list[int] = []
    third = threading.Event()

    def items() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            if number == 3:
                third.set()
            yield number

    ahead = Ahead(items(), size=2)
    assert next(ahead) == 0
    assert third.wait(10)  # two wait, and one is in the hand of the thread that waits for room
    assert made == [0, 1, 2, 3]
    assert list(ahead) == list(range(1, 10))


def test_the_latest_replaces_what_nobody_took_and_is_counted() -> None:
    taken, made = threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        yield 0
        taken.wait(10)
        yield from range(1, 6)
        made.set()

    ahead = Ahead(items(), size=1, latest=True)
    assert next(ahead) == 0
    taken.set()
    assert made.wait(10)
    assert list(ahead) == [5]
    assert ahead.dropped == 4


def test_what_the_source_raises_comes_at_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("gone")

    ahead = Ahead(items())
    assert next(ahead) == 1
    with pytest.raises(KeyError, match="gone"):
        next(ahead)


def test_closing_ends_the_source_in_its_own_thread() -> None:
    ended: list[str] = []

    def items() -> Iterator[int]:
        try:
            yield from itertools.count()
        finally:
            ended.append(threading.current_thread().name)

    ahead = Ahead(items())
    next(ahead)
    ahead.close()
    ahead.close()
    assert ended == ["fer_edge"]
    with pytest.raises(ClosedError):
        next(ahead)


def test_who_waits_is_woken_by_close() -> None:
    never = threading.Event()

    def items() -> Iterator[int]:
        never.wait(10)
        yield 1

    ahead = Ahead(items())
    closer = threading.Timer(0.05, lambda: ahead.close(wait=False))
    closer.start()
    with pytest.raises(ClosedError):
        next(ahead)
    never.set()


def test_a_chain_of_them_ends_with_its_first() -> None:
    first = Ahead(itertools.count())
    second = Ahead(number * 2 for number in first)
    assert [next(second) for _ in range(3)] == [0, 2, 4]
    first.close()
    second.close()
    gc.collect()
    with pytest.raises(ClosedError):
        next(second)


def test_in_a_child_of_fork_there_is_no_thread() -> None:
    ahead = Ahead(itertools.count())
    next(ahead)
    assert in_a_child(lambda: next(ahead)).startswith("EngineError: this Ahead was made before")
    assert in_a_child(ahead.close) == "None"
    ahead.close()
