"""Measured figures beside their goals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fer_bench.tables import markdown_table
from fer_edge.artifacts.record import encode
from fer_edge.system.cores import usable_cores
from fer_edge.system.machine import cpu_name


@dataclass(frozen=True)
class Figure:
    """One thing that was measured; ``goal`` is a bound on ``value`` in the same unit."""

    name: str
    value: float
    unit: str
    goal: float | None = None
    at_least: bool = False

    @property
    def is_reached(self) -> bool:
        """Whether the goal is met; True where there is none."""
        if self.goal is None:
            return True
        # of NumPy's floats this would be a bool that JSON does not know
        return bool(self.value >= self.goal if self.at_least else self.value <= self.goal)


def table(figures: Iterable[Figure]) -> str:
    """Lay the figures out as a Markdown table."""
    rows = []
    for it in figures:
        bound = "at least" if it.at_least else "at most"
        goal = "" if it.goal is None else f"{bound} {it.goal:.3g} {it.unit}".rstrip()
        reached = "" if it.goal is None else "yes" if it.is_reached else "**no**"
        rows.append([it.name, f"{it.value:.3g} {it.unit}".rstrip(), goal, reached])
    return markdown_table(["what", "measured", "goal", "reached"], rows)


def machine() -> str:
    """The words for the machine that measured, to begin a sentence with."""
    cores = usable_cores()
    return f"On {cores} core{'s' if cores > 1 else ''} of {cpu_name()}"


def report(schema: str, figures: Iterable[Figure]) -> dict[str, Any]:
    """The figures for ``--json``."""
    results = [{**encode(figure), "reached": figure.is_reached} for figure in figures]
    return {"schema": schema, "results": results}
