"""The pool: how many it makes, whom it lends them to, and how it ends."""

from __future__ import annotations

import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from fer_edge.backends.pool import Pool
from fer_edge.errors import ClosedError

MESSAGE = "the pool is closed"


class Item:
    def __init__(self) -> None:
        self.closed = 0
        self.users = 0

    def close(self) -> None:
        self.closed += 1


def test_it_makes_one_at_a_time_and_uses_it_again() -> None:
    pool = Pool(Item, 3, MESSAGE)
    with pool.borrow() as first:
        pass
    with pool.borrow() as second, pool.borrow() as third:
        assert second is first
        assert third is not first


def test_one_item_serves_one_thread_and_no_more_are_made_than_allowed() -> None:
    made: list[Item] = []

    def make() -> Item:
        made.append(Item())
        return made[-1]

    pool, crowds = Pool(make, 2, MESSAGE), []

    def use(_: int) -> None:
        with pool.borrow() as item:
            item.users += 1
            crowds.append(item.users)
            item.users -= 1

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(use, range(500)))
    assert set(crowds) == {1}
    assert len(crowds) == 500
    assert 1 <= len(made) <= 2


def test_who_waits_gets_one_when_it_comes_back() -> None:
    pool, got = Pool(Item, 1, MESSAGE), threading.Event()

    def wait() -> None:
        with pool.borrow():
            got.set()

    with pool.borrow():
        thread = threading.Thread(target=wait)
        thread.start()
        assert not got.wait(0.05)
    thread.join(10)
    assert got.is_set()


def test_a_failure_to_make_one_leaves_room_for_the_next() -> None:
    answers = iter([OSError("full"), Item()])

    def make() -> Item:
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    pool = Pool(make, 1, MESSAGE)
    with pytest.raises(OSError, match="full"), pool.borrow():
        pass
    with pool.borrow() as item:
        assert item.closed == 0


def test_an_item_comes_back_from_a_call_that_fails() -> None:
    pool = Pool(Item, 1, MESSAGE)
    with pytest.raises(ValueError, match="mine"), pool.borrow():
        raise ValueError("mine")
    with pool.borrow():
        pass


def test_closing_ends_idle_items_now_and_busy_ones_when_they_come_back() -> None:
    pool = Pool(Item, 2, MESSAGE)
    with pool.borrow() as busy:
        with pool.borrow() as idle:
            pass
        pool.close()
        assert (idle.closed, busy.closed) == (1, 0)
    assert busy.closed == 1
    pool.close()
    assert (idle.closed, busy.closed) == (1, 1)


def test_a_closed_pool_lends_nothing() -> None:
    pool = Pool(Item, 1, MESSAGE)
    pool.close()
    with pytest.raises(ClosedError, match=MESSAGE), pool.borrow():
        pass


def test_closing_wakes_those_who_wait() -> None:
    pool = Pool(Item, 1, MESSAGE)
    told: list[str] = []

    def wait() -> None:
        try:
            with pool.borrow():
                told.append("got one")
        except ClosedError as problem:
            told.append(str(problem))

    with pool.borrow():
        threads = [threading.Thread(target=wait) for _ in range(3)]
        for thread in threads:
            thread.start()
        pool.close()
        for thread in threads:
            thread.join(10)
    assert told == [MESSAGE] * 3


def test_a_closed_pool_holds_nothing_any_more() -> None:
    class Source:
        def make(self) -> Item:
            return Item()

    source = Source()
    gone = weakref.ref(source)
    pool = Pool(source.make, 1, MESSAGE)
    with pool.borrow():
        pass
    del source
    assert gone() is not None
    pool.close()
    assert gone() is None
