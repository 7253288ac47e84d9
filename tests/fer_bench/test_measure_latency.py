"""What a latency run makes of its samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_bench.candidates import Candidate
from fer_bench.intervals import percentile
from fer_bench.latency_results import LatencyRun
from fer_bench.launching import CandidateError, RoundSample
from fer_bench.measure_latency import Launch, measure_latency
from fer_bench.noise import NoiseWatch
from fer_bench.results import read_result
from fer_bench.scenarios import Settings
from fer_edge import ConfigurationError
from fer_edge.artifacts.record import encode
from fer_edge.system.files import write_json


def one(name: str = "m", scenario: str = "single-stream", **changes: Any) -> Candidate:
    return Candidate(name, scenario, **changes)


Measure = Callable[..., LatencyRun]


@pytest.fixture
def measure(quiet_watch: NoiseWatch) -> Measure:
    """Measure candidates, one by default, whose turns ``launch`` makes up."""

    def call(launch: Launch, *candidates: Candidate, **settings: Any) -> LatencyRun:
        return measure_latency(
            candidates or [one()], Settings(**settings), launch=launch, watch=quiet_watch
        )

    return call


def test_a_known_distribution_is_recovered(make_sample: Any, measure: Measure) -> None:
    rng = np.random.default_rng(0)
    truth = rng.gamma(9, 0.1, 20_000)
    rounds = iter(np.split(truth, 10))
    (row,) = measure(lambda *_: make_sample(next(rounds))).results
    assert row.count == 20_000
    assert (row.p50_ms, row.p90_ms, row.p99_ms) == tuple(
        percentile(truth, level) for level in (0.5, 0.9, 0.99)
    )
    assert row.max_ms == truth.max()
    assert row.mean_ms == pytest.approx(truth.mean())
    assert row.throughput_per_s == pytest.approx(1000 / truth.mean())
    for value, interval in ((row.p50_ms, row.p50_ci95), (row.p99_ms, row.p99_ci95)):
        assert interval[0] <= value <= interval[1]
        assert interval[1] / interval[0] < 1.06


def test_outliers_are_kept(make_sample: Any, measure: Measure) -> None:
    (row,) = measure(lambda *_: make_sample([1.0] * 97 + [500.0] * 3), rounds=3).results
    assert (row.p50_ms, row.p99_ms) == (1.0, 500.0)


def test_a_row_says_what_ran_and_what_it_cost(make_sample: Any, measure: Measure) -> None:
    colds = iter([900.0, 310.0, 300.0])
    cost = {"batch": 4, "predictions": 400, "cpu_s": 1.2, "wall_s": 0.2}
    (row,) = measure(
        lambda *_: make_sample([2.0] * 100, **cost, cold_ms=next(colds)), one(batch=4), rounds=3
    ).results
    ran = (row.sha256, row.backend, row.provider, row.threads)
    assert ran == ("a" * 64, "onnxruntime", "CPU", 1)
    assert (row.batch, row.query, row.scenario, row.clients) == (4, 4, "single-stream", 1)
    assert row.cold_ms == 310.0  # the median
    assert row.cpu_s_per_1000 == pytest.approx(3.0)
    assert row.throughput_per_s == pytest.approx(2000)
    assert row.stages_ms == {"preprocess": 0.1, "inference": 0.7, "postprocess": 0.2}
    assert (row.rss_mb, row.size_bytes, len(row.rounds)) == (80.0, 1000, 3)


def test_ratios_are_pair_by_pair_within_a_scenario(make_run: Any) -> None:
    run = make_run({"fast": 1.0, "slow": 2.0, "slower": 4.0})
    assert [(r.first, r.second) for r in run.ratios] == [(0, 1), (0, 2), (1, 2)]
    for ratio, expected in zip(run.ratios, (0.5, 0.25, 0.5), strict=True):
        assert ratio.p50_ratio == pytest.approx(expected, rel=0.05)
        assert ratio.ci95[0] <= expected <= ratio.ci95[1]


def test_other_scenarios_and_batches_make_no_ratio(make_sample: Any, measure: Measure) -> None:
    candidates = (one(), one(batch=2), one(scenario="offline"))
    assert measure(lambda *_: make_sample([1.0] * 10), *candidates, rounds=3).ratios == ()


def test_candidates_take_turns_and_one_that_fails_falls_out(
    make_sample: Any, measure: Measure, quiet_watch: NoiseWatch
) -> None:
    order = []

    def launch(candidate: Candidate, _: Mapping[str, Any]) -> RoundSample:
        order.append(candidate.model)
        if len(order) == 5:
            raise CandidateError("b.onnx is damaged")
        return make_sample([1.0] * 10)

    run = measure(launch, one("a"), one("b"), one("c"), rounds=3)
    assert "".join(order) == "abcabcac"
    assert len(quiet_watch.probes) == 7  # a turn that fails says nothing of the machine
    assert [row.error for row in run.results] == [None, "b.onnx is damaged", None]
    assert (run.results[1].model, run.results[1].p50_ms) == ("b", None)
    assert run.failed
    assert [(r.first, r.second) for r in run.ratios] == [(0, 2)]


def test_a_defect_of_the_bench_is_no_row(measure: Measure) -> None:
    with pytest.raises(ZeroDivisionError):
        measure(lambda *_: 1 / 0)


def test_ctrl_c_drops_the_round_that_is_not_complete(make_sample: Any, measure: Measure) -> None:
    samples = iter([make_sample([1.0] * 10)] * 7)

    def launch(*_: object) -> RoundSample:
        for sample in samples:
            return sample
        raise KeyboardInterrupt

    run = measure(launch, one("a"), one("b"), one("c"), rounds=3)
    assert (run.rounds, run.interrupted) == (2, True)
    assert [row.count for row in run.results] == [20, 20, 20]


def test_ctrl_c_at_once_leaves_rows_that_say_so(measure: Measure) -> None:
    def launch(*_: object) -> RoundSample:
        raise KeyboardInterrupt

    assert measure(launch).results[0].error == "interrupted before a round was complete"


def test_a_server_reports_the_rate_that_it_held(make_sample: Any, measure: Measure) -> None:
    def launch(_: Candidate, request: Mapping[str, Any]) -> RoundSample:
        rate = request["rate"]
        if rate is None:
            return make_sample([2.0] * 100, rate=None)  # 500 per second
        return make_sample([5.0 if rate < 300 else 50.0] * 200, rate=rate)

    (row,) = measure(launch, one(scenario="server"), rounds=14).results
    assert 285 < row.rate_per_s < 300
    assert (row.p99_ms, row.p99_bound_ms, row.count) == (5.0, 10.0, 600)
    assert row.notes == ()


def test_a_search_that_was_cut_short_says_so(make_sample: Any, measure: Measure) -> None:
    (row,) = measure(
        lambda _, request: make_sample([2.0] * 200, rate=request["rate"]),
        one(scenario="server"),
        rounds=2,
    ).results
    assert row.rate_per_s == pytest.approx(250)
    assert any("the search ended before" in note for note in row.notes)


@pytest.mark.parametrize(
    ("settings", "sample", "error"),
    [
        (
            {"rounds": 1},
            {"samples_ms": [2.0] * 200, "rate": None},
            "no rate was tried in 1 rounds; the search takes about ten",
        ),
        (
            {"p99_bound_ms": 1.0},
            {"samples_ms": [2.0] * 200, "rate": None},
            "no rate that was tried keeps the p99 within 1 ms; without a queue it is 2 ms",
        ),
        (
            {"rounds": 3, "rate": 5000.0},
            {"samples_ms": [900.0] * 200, "unanswered": 4800, "rate": 5000.0, "wall_s": 2.0},
            "does not hold 5000 queries per second: it answered 100 per second, its queue grew, "
            "and the p99 reached 900 ms",
        ),
    ],
    ids=["too few rounds", "a bound that nothing holds", "a rate that no machine holds"],
)
def test_a_server_without_a_rate_is_a_row_that_says_why(
    settings: dict[str, Any], sample: dict[str, Any], error: str, make_sample: Any, measure: Measure
) -> None:
    run = measure(lambda *_: make_sample(**sample), one(scenario="server"), **settings)
    assert run.results[0].error == error


@pytest.mark.parametrize(("rate", "holds"), [(400.0, True), (600.0, False), (5000.0, False)])
def test_a_rate_holds_where_its_queue_does_not_grow(
    server: Any, measure: Measure, rate: float, holds: bool
) -> None:
    """Of a server that can do 500 per second and answers everything in the end."""
    trial = server(2.0)
    (row,) = measure(
        lambda _, request: trial(request),
        one(scenario="server"),
        rounds=5,
        rate=rate,
        server_seconds=2.0,
    ).results
    assert (row.error is None) is holds
    assert holds or f"does not hold {rate:g} queries per second" in str(row.error)


def test_unsteady_warm_ups_and_few_samples_are_noted(make_sample: Any, measure: Measure) -> None:
    run = measure(lambda *_: make_sample([1.0] * 5, warm=False), rounds=4)
    assert run.results[0].notes == (
        "warming up did not become stable in 4 of 4 rounds",
        "the p99 of 20 queries is their slowest",
    )


def test_nothing_to_measure_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="nothing to measure"):
        measure_latency([])


def test_a_run_is_read_back_as_it_was_written(make_run: Any, tmp_path: Path) -> None:
    run = make_run({"a": 1.0, "b": 3.0}, rounds=4)
    write_json(tmp_path / "run.json", encode(run))
    assert read_result(tmp_path / "run.json", LatencyRun) == run


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"schema": "fer-bench-latency/99"}', "schema 'fer-bench-latency/99', expected"),
        ('{"schema": "fer-bench-accuracy/2", "results": []}', "measure again"),
        ('{"results": []}', "has no schema"),
        ("[1, 2]", "has no schema"),
        ("{", "is not valid JSON"),
        ('{"schema": "fer-bench-latency/1", "results": 3}', "lacks the fields"),
    ],
)
def test_a_file_that_is_no_such_run_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "old.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=reason):
        read_result(path, LatencyRun)
    with pytest.raises(ConfigurationError, match="there is no result at"):
        read_result(tmp_path / "gone.json", LatencyRun)


def test_the_json_has_the_documented_fields(make_run: Any) -> None:
    value = encode(make_run({"a": 1.0}, rounds=3))
    assert next(iter(value)) == "schema"
    documented = {
        "model", "sha256", "backend", "device", "provider", "precision", "inference_precision",
        "threads", "batch", "scenario", "count", "p50_ms", "p90_ms", "p99_ms", "mean_ms",
        "throughput_per_s", "stages_ms", "cold_ms", "rss_mb", "size_bytes",
    }  # fmt: skip
    assert documented <= set(value["results"][0])
    assert {"environment", "noise", "settings"} <= set(value)
