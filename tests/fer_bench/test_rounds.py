"""The order of rounds, and what a failure leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from fer_bench.candidates import Candidate
from fer_bench.launching import CandidateError, RoundSample
from fer_bench.measure_latency import Turns, run_rounds
from fer_bench.noise import NoiseWatch
from fer_bench.scenarios import Settings, request_for


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
    request = request_for("single-stream", None, Settings())
    return [Turns(Candidate(name, "single-stream"), request) for name in "ABC"]


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


def test_a_defect_of_the_bench_is_no_row(
    turns: list[Turns], make_sample: Any, quiet_watch: NoiseWatch
) -> None:
    with pytest.raises(ZeroDivisionError):
        run(turns, Recorder(make_sample, {2: ZeroDivisionError()}), quiet_watch)
