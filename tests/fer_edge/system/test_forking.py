"""What is bound to the process that made it."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable

import pytest
from forked import in_a_child

from fer_edge.errors import ConfigurationError
from fer_edge.system import forking
from fer_edge.system.forking import ProcessBound, in_each_child


class Owner(ProcessBound):
    """Owns a lock, and something that must not end in a child."""

    def __init__(self, ended: list[str] | None = None) -> None:
        self.turn = threading.Lock()
        self.engine = Engine([] if ended is None else ended)

    def work(self) -> str:
        """Take the lock."""
        self.require_own_process()
        with self.turn:
            return "done"


class Engine:
    """Writes down that it ended."""

    def __init__(self, ended: list[str]) -> None:
        self.ended = ended

    def __del__(self) -> None:
        self.ended.append("ended")


def test_it_works_where_it_was_made() -> None:
    assert Owner().work() == "done"


def test_its_use_in_a_child_is_an_error_even_where_its_lock_was_held() -> None:
    owner = Owner()
    with owner.turn:
        outcome = in_a_child(owner.work)
    assert outcome == (
        "EngineError: this Owner was made before the process forked, and its threads stayed behind "
        "in the parent; make a new one in each process, and start processes that use a GPU by spawn"
    )


def test_one_that_a_child_makes_works_there() -> None:
    assert in_a_child(lambda: Owner().work()) == "done"


def test_what_it_holds_does_not_end_in_a_child() -> None:
    owners: list[Owner] = []
    ended: list[str] = []
    owners.append(Owner(ended))

    def drop() -> list[str]:
        del owners[0].engine  # as close does
        owners.clear()
        return ended

    assert in_a_child(drop) == "[]"
    owners.clear()
    assert ended == ["ended"]


def test_the_state_of_a_module_starts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forking, "_renewals", [])
    state = ["the parent's"]
    in_each_child(state.clear)
    assert in_a_child(lambda: state) == "[]"
    assert state == ["the parent's"]


@pytest.mark.parametrize("how", [pickle.dumps, copy.copy, copy.deepcopy])
def test_it_cannot_be_copied_and_says_what_to_do(how: Callable[[object], object]) -> None:
    with pytest.raises(ConfigurationError, match="Owner cannot be pickled or copied; make one"):
        how(Owner())
