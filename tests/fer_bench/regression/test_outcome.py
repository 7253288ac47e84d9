"""When a check holds."""

from __future__ import annotations

from fer_bench.regression.outcome import Outcome, at_least, at_most, note, table


def test_a_check_holds_if_every_row_does() -> None:
    good, bad = at_least("a", 1, 0), at_most("b", 1, 0)
    assert Outcome((good,)).holds
    assert not Outcome((good, bad)).holds


def test_a_check_that_compared_nothing_fails_and_says_so() -> None:
    for empty in (Outcome(()), Outcome((note("95 % interval", "0 to 1"),))):
        assert not empty.holds
        assert "comparisons" in table(empty.rows)


def test_a_note_decides_nothing() -> None:
    assert Outcome((at_least("a", 1, 0), note("b", "x"))).holds


def test_what_is_no_number_never_holds() -> None:
    assert not at_least("a", float("nan"), 0).holds
    assert not at_most("a", float("nan"), 0).holds
