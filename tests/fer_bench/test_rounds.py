"""The order of rounds, and what a failure or Ctrl-C leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from fer_bench.candidates import Candidate
from fer_bench.launching import CandidateError, RoundSample
from fer_bench.measure_latency import Turns, run_rounds
from fer_bench.noise import NoiseWatch
from fer_bench.scenarios import Load

BASE = {"seed": 0, "rate": None, "limit_s": 1}


class Recorder:
    """Launches nothing; notes the order, and raises what it is told at a certain launch."""

    def __init__(self, make_sample: Any, raises: dict[int, BaseException] | None = None) -> None:
        self.order = ""
        self._make_sample, self._raises = make_sample, raises or {}

    def __call__(self, candidate: Candidate, request: Mapping[str, Any]) -> RoundSample:
        self.order += candidate.model
        if problem := self._raises.get(len(self.order)):
            raise problem
        return self._make_sample([1.0, 2.0])


@pytest.fixture
def turns() -> list[Turns]:
    return [Turns(Candidate(name, "single-stream"), Load(BASE)) for name in "ABC"]


def run(turns: list[Turns], launch: Recorder, watch: NoiseWatch) -> tuple[int, list[int]]:
    """Three rounds: how many are complete, and the samples of each candidate."""
    complete = run_rounds(turns, launch, rounds=3, watch=watch)
    return complete, [len(one.samples) for one in turns]


def test_candidates_take_turns(
    turns: list[Turns], make_sample: Any, quiet_watch: NoiseWatch
) -> None:
    launch = Recorder(make_sample)
    assert run(turns, launch, quiet_watch) == (3, [3, 3, 3])
    assert launch.order == "ABCABCABC"
    assert len(quiet_watch.probes) == 9


def test_one_that_fails_falls_out_and_the_others_go_on(
    turns: list[Turns], make_sample: Any, quiet_watch: NoiseWatch
) -> None:
    launch = Recorder(make_sample, {2: CandidateError("it is damaged")})
    assert run(turns, launch, quiet_watch) == (3, [3, 0, 3])
    assert launch.order == "ABCACAC"
    assert [one.error for one in turns] == [None, "it is damaged", None]


def test_ctrl_c_keeps_the_complete_rounds(
    turns: list[Turns], make_sample: Any, quiet_watch: NoiseWatch
) -> None:
    assert run(turns, Recorder(make_sample, {8: KeyboardInterrupt()}), quiet_watch) == (2, [2] * 3)


def test_a_defect_of_the_bench_is_no_row(
    turns: list[Turns], make_sample: Any, quiet_watch: NoiseWatch
) -> None:
    with pytest.raises(ZeroDivisionError):
        run(turns, Recorder(make_sample, {2: ZeroDivisionError()}), quiet_watch)


def test_a_load_that_is_done_rests(
    turns: list[Turns], make_sample: Any, quiet_watch: NoiseWatch
) -> None:
    class Once(Load):
        def request(self, number: int) -> Any:
            return super().request(number) if number == 0 else None

    turns[0].load, launch = Once(BASE), Recorder(make_sample)
    assert run(turns, launch, quiet_watch) == (3, [1, 3, 3])
    assert launch.order == "ABCBCBC"
