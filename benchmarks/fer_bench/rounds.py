"""Rounds: every contestant measures a slice, A B C A B C, so that a drift hits all alike.

Each slice is a fresh process: what differs from one start to the next (memory layout, page
placement) is part of the noise that the intervals must hold, after Kalibera and Jones, "Rigorous
Benchmarking in Reasonable Time" (ISMM 2013); and each gives a cold start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fer_bench.launching import Slice
from fer_bench.noise import NoiseWatch
from fer_bench.scenarios import Load
from fer_edge.errors import FerEdgeError

__all__ = ["Launch", "Outcome", "run_rounds"]

C = TypeVar("C")
Launch = Callable[[C, Mapping[str, Any]], Slice]


@dataclass
class Outcome:
    """What came of each contestant, by its place.

    ``slices`` holds those of complete rounds alone; ``failures`` says why a contestant fell out.
    """

    slices: list[list[Slice]]
    failures: dict[int, str] = field(default_factory=dict)
    rounds: int = 0
    interrupted: bool = False


def run_rounds(
    contestants: Sequence[C],
    loads: Sequence[Load],
    launch: Launch[C],
    *,
    rounds: int,
    watch: NoiseWatch,
    advance: Callable[[C], None] = lambda _: None,
) -> Outcome:
    """Run ``rounds`` rounds. Ctrl-C keeps those that are complete.

    ``advance`` is called after each slice. A contestant that fails is left out of what follows.
    """
    outcome = Outcome([[] for _ in contestants])
    for number in range(rounds):
        measured: dict[int, Slice] = {}
        try:
            for place, contestant in enumerate(contestants):
                request = loads[place].request(number)
                if place not in outcome.failures and request is not None:
                    try:
                        with watch.slice():
                            measured[place] = launch(contestant, request)
                    except FerEdgeError as problem:
                        outcome.failures[place] = str(problem)
                advance(contestant)
        except KeyboardInterrupt:
            outcome.interrupted = True
            return outcome
        for place, piece in measured.items():
            loads[place].record(piece)
            outcome.slices[place].append(piece)
        outcome.rounds = number + 1
    return outcome
