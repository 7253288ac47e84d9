"""Calls that are under way while the process forks or ends."""

from __future__ import annotations

import threading

import pytest
from forked import another_thread_in_a_call, in_a_child

from fer_edge.system import calls
from fer_edge.system.calls import forked_during_a_call, under_way


@pytest.fixture
def ending(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls of a program that has begun to end."""
    of_their_own = calls._Calls()
    of_their_own.end()
    monkeypatch.setattr(calls, "_calls", of_their_own)


def outcome_in_a_thread(*, daemon: bool) -> str:
    """What a call gives in a thread of its own."""
    outcome = []

    def work() -> None:
        try:
            outcome.append(under_way(lambda: "done")())
        except SystemExit:
            outcome.append("ended")

    thread = threading.Thread(target=work, daemon=daemon)
    thread.start()
    thread.join()
    return outcome[0]


def test_a_child_knows_that_another_thread_was_in_a_call() -> None:
    with another_thread_in_a_call():
        assert in_a_child(forked_during_a_call) == "True"
    assert not forked_during_a_call()


def test_a_child_of_its_child_knows_it_too() -> None:
    with another_thread_in_a_call():
        assert in_a_child(lambda: in_a_child(forked_during_a_call)) == "True"


def test_a_fork_between_calls_or_within_ones_own_cuts_nothing_off() -> None:
    with another_thread_in_a_call():
        pass
    assert in_a_child(forked_during_a_call) == "False"
    assert under_way(lambda: in_a_child(under_way(forked_during_a_call)))() == "False"


@pytest.mark.usefixtures("ending")
def test_while_a_program_ends_a_daemon_thread_ends_at_its_next_call() -> None:
    assert outcome_in_a_thread(daemon=True) == "ended"


@pytest.mark.usefixtures("ending")
def test_while_a_program_ends_other_threads_go_on() -> None:
    assert outcome_in_a_thread(daemon=False) == "done"


def test_the_end_waits_for_a_call_that_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    of_their_own = calls._Calls()
    monkeypatch.setattr(calls, "_calls", of_their_own)
    with another_thread_in_a_call():
        end = threading.Thread(target=of_their_own.end)
        end.start()
        end.join(0.05)
        assert end.is_alive()
    end.join(10)
    assert not end.is_alive()


def test_the_end_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "_PATIENCE_S", 0.01)
    of_their_own = calls._Calls()
    monkeypatch.setattr(calls, "_calls", of_their_own)
    with another_thread_in_a_call():
        of_their_own.end()
