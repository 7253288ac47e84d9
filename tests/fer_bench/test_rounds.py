"""The order of rounds, and what a failure or Ctrl-C leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from fer_bench.launching import CandidateError, RoundSample
from fer_bench.noise import NoiseWatch
from fer_bench.rounds import MeasuredRounds, run_rounds
from fer_bench.scenarios import Load


class Recorder:
    """Launches nothing; notes the order, and raises what it is told at a certain launch."""

    def __init__(self, make_sample: Any, raises: dict[int, BaseException] | None = None) -> None:
        self.order: list[str] = []
        self._make_sample, self._raises = make_sample, raises or {}

    def __call__(self, candidate: str, request: Mapping[str, Any]) -> RoundSample:
        self.order.append(candidate)
        if problem := self._raises.get(len(self.order)):
            raise problem
        return self._make_sample([1.0, 2.0])


def run(launch: Recorder, watch: NoiseWatch, names: str = "ABC", rounds: int = 3) -> MeasuredRounds:
    loads = [Load({"seed": 0, "rate": None, "limit_s": 1}) for _ in names]
    return run_rounds(list(names), loads, launch, rounds=rounds, watch=watch)


def test_candidates_take_turns(make_sample: Any, quiet_watch: NoiseWatch) -> None:
    launch = Recorder(make_sample)
    outcome = run(launch, quiet_watch)
    assert "".join(launch.order) == "ABCABCABC"
    assert [len(own) for own in outcome.samples] == [3, 3, 3]
    assert (outcome.rounds, outcome.interrupted, outcome.failures) == (3, False, {})
    assert len(quiet_watch.probes) == 9


def test_one_that_fails_falls_out_and_the_others_go_on(
    make_sample: Any, quiet_watch: NoiseWatch
) -> None:
    launch = Recorder(make_sample, {2: CandidateError("it is damaged")})
    outcome = run(launch, quiet_watch)
    assert "".join(launch.order) == "ABCACAC"
    assert outcome.failures == {1: "it is damaged"}
    assert [len(own) for own in outcome.samples] == [3, 0, 3]


def test_ctrl_c_keeps_the_complete_rounds(make_sample: Any, quiet_watch: NoiseWatch) -> None:
    outcome = run(Recorder(make_sample, {8: KeyboardInterrupt()}), quiet_watch)
    assert (outcome.rounds, outcome.interrupted) == (2, True)
    assert [len(own) for own in outcome.samples] == [2, 2, 2]


def test_a_defect_of_the_bench_is_no_row(make_sample: Any, quiet_watch: NoiseWatch) -> None:
    with pytest.raises(ZeroDivisionError):
        run(Recorder(make_sample, {2: ZeroDivisionError()}), quiet_watch)


def test_a_load_that_is_done_rests(make_sample: Any, quiet_watch: NoiseWatch) -> None:
    class Once(Load):
        def request(self, number: int) -> Any:
            return super().request(number) if number == 0 else None

    launch = Recorder(make_sample)
    base = {"seed": 0, "rate": None, "limit_s": 1}
    outcome = run_rounds(["A", "B"], [Once(base), Load(base)], launch, rounds=3, watch=quiet_watch)
    assert "".join(launch.order) == "ABBB"
    assert [len(own) for own in outcome.samples] == [1, 3]
