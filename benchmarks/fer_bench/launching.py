"""Start the process that is measured, send it one request, and read its reply."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_edge.errors import GateError

_LAST_WORDS = 300


class CandidateError(GateError):
    """A candidate could not be opened, failed while it ran, or did not answer in time.

    ``exit_code`` is that of the error in the candidate's process, where one of ours told it.
    """

    def __init__(self, message: str, exit_code: object = GateError.exit_code) -> None:
        super().__init__(message)
        if isinstance(exit_code, int):
            self.exit_code = exit_code


@dataclass(frozen=True)
class Program:
    """What to start: a command, additions to its environment, and its adapter's parameters."""

    command: tuple[str, ...]
    parameters: Mapping[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict)


WORKER = (sys.executable, "-m", "fer_bench.worker")
"""The command that measures a Predictor."""


@dataclass(frozen=True, eq=False)
class RoundSample:
    """What one fresh process measured in one round.

    ``samples_ms`` is float64 ``(N,)``, one per query that was answered. ``batch`` is the crops of
    one call, fewer than asked for if the artifact takes fewer. ``cold_ms`` runs from the start of
    the process to its first answer; ``load_ms`` is the opening alone, ``first_call_ms`` the first
    answer alone. ``rate`` is the arrival rate of a server trial, per second.
    """

    samples_ms: npt.NDArray[np.float64]
    unanswered: int
    predictions: int
    wall_s: float
    cpu_s: float
    clients: int
    batch: int
    warm: bool
    stages_ms: dict[str, float]
    cold_ms: float
    load_ms: float
    first_call_ms: float
    rss_mb: float | None
    peak_rss_mb: float
    describe: dict[str, Any]
    rate: float | None = None


def measure_round(
    program: Program, crops: str, scenario: Mapping[str, Any], timeout_s: float
) -> RoundSample:
    """Start a process, let it warm up and measure ``scenario`` on the crops in the file ``crops``.

    Raises CandidateError.
    """
    request = {"work": "latency", "crops": crops, "scenario": dict(scenario)}
    started = time.monotonic_ns()  # one clock for all processes of a system
    reply = ask(program, request, timeout_s)
    samples = np.array(reply.pop("samples_ms"), np.float64)
    cold_ms = (reply.pop("answered_ns") - started) / 1e6
    return RoundSample(samples_ms=samples, cold_ms=cold_ms, rate=scenario["rate"], **reply)


def ask(program: Program, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
    """Start a process, send it one request and take its reply. Raises CandidateError."""
    line = json.dumps({**request, "parameters": dict(program.parameters)}) + "\n"
    with tempfile.TemporaryFile() as errors:
        try:
            with subprocess.Popen(  # noqa: S603 - our own worker, or a peer that was asked for
                program.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **program.environment},
                start_new_session=True,  # Ctrl-C is the bench's to handle
            ) as process:
                try:
                    answer, _ = process.communicate(line.encode(), timeout=timeout_s)
                finally:  # also after a timeout or Ctrl-C; does nothing to one that has ended
                    process.kill()
                    process.wait()
            reply = json.loads(answer)
        except OSError as problem:
            raise CandidateError(f"cannot start {program.command[0]}: {problem}") from problem
        except subprocess.TimeoutExpired as problem:
            raise CandidateError(f"no answer within {timeout_s:.0f} s") from problem
        except ValueError as problem:
            errors.seek(0)
            words = " ".join(errors.read().decode(errors="replace").split())[-_LAST_WORDS:]
            code = process.returncode
            end = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
            raise CandidateError(
                f"its process {end} without a reply: {words or 'it printed nothing'}"
            ) from problem
    if not isinstance(reply, dict):
        raise CandidateError(f"its process should reply with a JSON object, not {reply!s:.80}")
    if "failed" in reply:
        raise CandidateError(str(reply["failed"]), reply.get("exit_code"))
    return reply
