"""The process that is measured: what it replies, and how it may fail."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_bench.launching import CandidateError, Program, ask, measure_round
from fer_bench.scenarios import Settings, request_for, trial

ADAPTER = """
import os, sys, time
import numpy as np
from fer_bench.protocol import Adapter, serve

class Sleeper(Adapter):
    def __init__(self, parameters):
        super().__init__(parameters)
        exec(parameters.get("at_open", ""))
    def preprocess(self, crops):
        return np.stack(crops)
    def infer(self, batch):
        time.sleep(0.002)
        return batch
    def postprocess(self, raw):
        return np.full((len(raw), 7), 1 / 7)
    def describe(self):
        return {"backend": "sleeper", "threads": self.parameters["threads"]}

serve(Sleeper)
"""

MakeProgram = Callable[..., Program]


@pytest.fixture
def make_program(tmp_path: Path, root: Path) -> MakeProgram:
    """A process that sleeps 2 ms for an answer; ``at_open`` is code that opening it runs."""
    script = tmp_path / "sleeper.py"
    script.write_text(ADAPTER)

    def make(at_open: str = "") -> Program:
        command = (sys.executable, str(script))
        parameters = {"threads": 3, "at_open": at_open}
        return Program(command, parameters, {"PYTHONPATH": str(root / "benchmarks")})

    return make


@pytest.fixture
def crops(tmp_path: Path) -> str:
    path = tmp_path / "crops.npy"
    np.save(path, np.zeros((3, 20, 20, 3), np.uint8))
    return str(path)


def request(scenario: str = "single-stream", **changes: Any) -> dict[str, Any]:
    settings = Settings(rounds=1, seconds=0.03, count=5, warm_up_s=0.05, server_seconds=0.1)
    asked = request_for(scenario, None, settings)
    return {**trial(asked, asked["rate"], 0), **changes}


def test_a_turn_is_measured_in_a_process_of_its_own(make_program: MakeProgram, crops: str) -> None:
    measured = measure_round(make_program(), crops, request(), 60)
    assert len(measured.samples_ms) >= 5
    assert measured.samples_ms.min() >= 2.0
    assert measured.predictions == len(measured.samples_ms)
    assert measured.stages_ms["inference"] >= 2.0
    assert measured.stages_ms.keys() == {"preprocess", "inference", "postprocess"}
    assert measured.cold_ms > measured.load_ms + measured.first_call_ms
    assert measured.first_call_ms >= 2.0
    assert measured.cpu_s < measured.wall_s
    assert measured.describe == {"backend": "sleeper", "threads": 3}
    assert measured.peak_rss_mb > 5


def test_a_query_of_eight_is_eight_predictions(make_program: MakeProgram, crops: str) -> None:
    measured = measure_round(make_program(), crops, request("multi-stream"), 60)
    assert measured.predictions == 8 * len(measured.samples_ms)


def test_a_server_trial_tells_its_rate(make_program: MakeProgram, crops: str) -> None:
    measured = measure_round(make_program(), crops, request("server", rate=100.0, count=10), 60)
    assert (measured.rate, measured.unanswered) == (100.0, 0)
    assert len(measured.samples_ms) >= 10


def test_opening_costs_a_cold_start_and_what_an_engine_prints_costs_nothing(
    make_program: MakeProgram, crops: str
) -> None:
    slow_and_noisy = "time.sleep(0.3); print('hello'); os.write(1, b'from C\\n')"
    measured = measure_round(make_program(slow_and_noisy), crops, request(), 60)
    assert measured.load_ms >= 300
    assert len(measured.samples_ms) >= 5


@pytest.mark.parametrize(
    ("at_open", "reason"),
    [
        ("raise OSError('no such model')", "OSError: no such model"),
        ("sys.stderr.write('out of memory'); os._exit(9)", "ended with code 9.*out of memory"),
        ("os.kill(os.getpid(), 9)", "was killed by signal 9"),
        ("import no_such_engine", "ModuleNotFoundError.*no_such_engine"),
    ],
)
def test_a_failure_says_why(
    make_program: MakeProgram, crops: str, at_open: str, reason: str
) -> None:
    with pytest.raises(CandidateError, match=reason):
        measure_round(make_program(at_open), crops, request(), 60)


def test_one_that_hangs_is_ended(make_program: MakeProgram, crops: str) -> None:
    with pytest.raises(CandidateError, match="no answer within 1 s"):
        measure_round(make_program("time.sleep(60)"), crops, request(), 1)


@pytest.mark.skipif(
    "PYTEST_XDIST_WORKER" in os.environ,
    reason="Ctrl-C ends a process of pytest-xdist; make test runs this one without it",
)
def test_ctrl_c_ends_the_process_that_is_measured(
    make_program: MakeProgram, crops: str, tmp_path: Path
) -> None:
    mark = tmp_path / "pid"
    at_open = f"open({str(mark)!r}, 'w').write(f'{{os.getpid()}} '); time.sleep(60)"

    def interrupt() -> None:
        while not (mark.exists() and mark.read_text().endswith(" ")):
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        measure_round(make_program(at_open), crops, request(), 60)
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)


def test_a_program_that_is_not_there(crops: str) -> None:
    with pytest.raises(CandidateError, match="cannot start /no/such/python"):
        ask(Program(("/no/such/python",), {}), {"work": "latency"}, 5)
