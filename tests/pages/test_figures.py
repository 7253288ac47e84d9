"""How measured figures are laid out beside their goals."""

from __future__ import annotations

import json

import numpy as np

from pages.figures import Figure, report, table


def test_a_goal_is_a_bound_from_above_or_from_below() -> None:
    assert Figure("a", 2.0, "ms", 2.5).is_reached
    assert not Figure("a", 3.0, "ms", 2.5).is_reached
    assert Figure("a", 5.1, "x", 5.0, at_least=True).is_reached
    assert not Figure("a", 4.9, "x", 5.0, at_least=True).is_reached
    assert Figure("a", 1e9, "ms").is_reached


def test_the_table_says_what_was_missed() -> None:
    figures = [Figure("fast", 1, "ms", 2.0), Figure("slow", 9, "ms", 2.0), Figure("told", 3, "s")]
    lines = table(figures).splitlines()
    assert lines[2:] == [
        "| fast | 1 ms | at most 2 ms | yes |",
        "| slow | 9 ms | at most 2 ms | **no** |",
        "| told | 3 s |  |  |",
    ]


def test_the_report_says_which_goals_were_reached() -> None:
    measured = [Figure("slow", np.float64(9), "ms", 2.0)]
    told = json.loads(json.dumps(report("schema/1", measured)))
    assert told["schema"] == "schema/1"
    assert told["results"] == [
        {"name": "slow", "value": 9, "unit": "ms", "goal": 2.0, "at_least": False, "reached": False}
    ]
