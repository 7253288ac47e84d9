"""Threads that are used again."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from forked import in_a_child

from fer_edge.system import threads


@pytest.fixture(autouse=True)
def waiting(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Threads of this test alone."""
    monkeypatch.setattr(threads, "_waiting", threads._IdleThreads())
    return threads._waiting


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_thread_that_is_idle_is_used_again(waiting: Any) -> None:
    seen = []
    for turn in range(20):
        threads.run(lambda: seen.append(threading.current_thread())).join()
        wait_until(lambda turn=turn: len(seen) == turn + 1 and len(waiting.idle) == 1)
    assert len(set(seen)) == 1


def test_tasks_run_side_by_side() -> None:
    meeting = threading.Barrier(5)
    tasks = [threads.run(lambda: meeting.wait(10) and None) for _ in range(5)]
    for task in tasks:
        task.join(10)
    assert not meeting.broken


def test_an_idle_thread_ends_after_a_while(waiting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_IDLE_S", 0.05)
    seen: list[threading.Thread] = []
    threads.run(lambda: seen.append(threading.current_thread())).join()
    wait_until(lambda: not seen[0].is_alive())
    assert waiting.idle == []


def test_tasks_that_come_as_threads_end_are_all_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_IDLE_S", 0.0005)
    done = []
    for number in range(500):
        task = threads.run(lambda number=number: done.append(number))
        task.join(10)
        time.sleep(0.0001 * (number % 10))
    assert done == list(range(500))


def test_a_join_in_the_thread_itself_returns() -> None:
    ended = threading.Event()
    mine: list[threads.Task] = []
    ready = threading.Event()

    def function() -> None:
        ready.wait(10)
        mine[0].join()
        ended.set()

    mine.append(threads.run(function))
    ready.set()
    assert ended.wait(10)


def test_what_a_task_held_is_let_go_when_it_ended(waiting: Any) -> None:
    class Held:
        def use(self) -> None:
            pass

    held = Held()
    gone = weakref.ref(held)
    task = threads.run(held.use)
    task.join()
    wait_until(lambda: len(waiting.idle) == 1)
    del held
    gc.collect()
    assert gone() is None


def test_a_child_of_fork_starts_with_none() -> None:
    threads.run(lambda: None).join()
    stop = threading.Event()
    running = threads.run(lambda: stop.wait(20) and None)

    def child() -> bool:
        running.join()  # nobody runs it here
        done = threading.Event()
        threads.run(done.set)
        return done.wait(10)

    assert in_a_child(child) == "True"
    stop.set()
