"""Rounds: the candidates take turns, A B C A B C, so that a drift of the machine affects all alike.

Each turn is a fresh process and gives a cold start. The intervals then cover what differs from one
start to the next, such as memory layout (Kalibera and Jones, "Rigorous Benchmarking in Reasonable
Time", ISMM 2013).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fer_bench.launching import RoundSample
from fer_bench.noise import NoiseWatch
from fer_bench.scenarios import Load
from fer_edge.errors import FerEdgeError

C = TypeVar("C")
Launch = Callable[[C, Mapping[str, Any]], RoundSample]


@dataclass
class MeasuredRounds:
    """What was measured of each candidate, by its place.

    ``samples`` are those of complete rounds; ``failures`` says why a candidate was dropped.
    """

    samples: list[list[RoundSample]]
    failures: dict[int, str] = field(default_factory=dict)
    rounds: int = 0
    interrupted: bool = False


def run_rounds(
    candidates: Sequence[C],
    loads: Sequence[Load],
    launch: Launch[C],
    *,
    rounds: int,
    watch: NoiseWatch,
    advance: Callable[[C], None] = lambda _: None,
) -> MeasuredRounds:
    """Run ``rounds`` rounds. Ctrl-C keeps those that are complete.

    A candidate that fails is left out of later rounds. ``advance`` is called after each turn.
    """
    outcome = MeasuredRounds([[] for _ in candidates])
    for number in range(rounds):
        measured: dict[int, RoundSample] = {}
        try:
            for place, candidate in enumerate(candidates):
                request = loads[place].request(number)
                if place not in outcome.failures and request is not None:
                    try:
                        with watch.around():
                            measured[place] = launch(candidate, request)
                    except FerEdgeError as problem:
                        outcome.failures[place] = str(problem)
                advance(candidate)
        except KeyboardInterrupt:
            outcome.interrupted = True
            return outcome
        for place, sample in measured.items():
            loads[place].record(sample)
            outcome.samples[place].append(sample)
        outcome.rounds = number + 1
    return outcome
