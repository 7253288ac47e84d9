"""The protocol between fer-bench and the process that it measures.

Each turn is one process. It reads a request, which is one line of JSON, does what the request asks,
and writes a reply, one line of JSON, to what was its standard output. This needs only the standard
library and NumPy, so that a peer's adapter can use it in an environment of its own:

    from fer_bench.protocol import Adapter, serve
    class Mine(Adapter): ...
    serve(Mine)
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from fer_bench.loops import closed_loop, open_loop, poisson_arrivals, side_by_side, warm_up

_SETTLE_S, _STAGED_SHARE, _STAGED_COUNT = 0.02, 0.2, 3
_MS = 1e-6  # ns to ms


class Adapter(ABC):
    """Something that recognises emotions; ``parameters`` come from the request.

    ``preprocess``, ``infer`` and ``postprocess`` are called one after the other. A crop is uint8
    ``(H, W, 3)`` BGR or ``(H, W)`` gray, and the result is one row of probabilities per crop.
    """

    def __init__(self, parameters: dict[str, Any]) -> None:
        self.parameters = parameters

    @abstractmethod
    def preprocess(self, crops: Sequence[Any]) -> Any:
        """Crops to what the engine takes."""

    @abstractmethod
    def infer(self, batch: Any) -> Any:
        """Run the engine."""

    @abstractmethod
    def postprocess(self, raw: Any) -> Any:
        """The engine's answer to rows of probabilities."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What really runs: ``backend``, and as far as they are known ``version``, ``provider``,
        ``precision``, ``inference_precision``, ``threads``, ``device``, ``sha256`` and
        ``size_bytes``.
        """

    @property
    def threads(self) -> int:
        """As many as were asked for, else one for each core that the process may use."""
        return int(self.parameters["threads"] or len(os.sched_getaffinity(0)))

    def predict(self, crops: Sequence[Any]) -> Any:
        """What a user calls; probabilities, one row per crop."""
        return self.postprocess(self.infer(self.preprocess(crops)))

    @property
    def concurrency(self) -> int:
        """Calls of ``predict`` worth making side by side."""
        return 1

    @property
    def max_batch(self) -> int | None:
        """The most crops of one call; None without a bound."""
        return None

    @classmethod
    def prepare(cls, folder: Path, parameters: dict[str, Any]) -> None:
        """Make what is needed before anything is timed, such as a graph, in ``folder``."""
        return


def serve(adapter: type[Adapter]) -> None:
    """Do what the request on standard input asks, and reply."""
    # standard output is kept for the reply: what an engine prints goes to standard error
    kept = os.dup(1)
    os.dup2(2, 1)
    request = json.loads(sys.stdin.readline())
    try:
        answer = _WORKS[request["work"]](adapter, request)
    except Exception as problem:  # whatever an engine raises becomes a row that says why
        answer = {"failed": _reason(problem), "exit_code": getattr(problem, "exit_code", 1)}
    with os.fdopen(kept, "w", encoding="utf-8") as stream:
        stream.write(json.dumps(answer) + "\n")


def _prepare(adapter: type[Adapter], request: dict[str, Any]) -> dict[str, Any]:
    adapter.prepare(Path(request["parameters"]["folder"]), request["parameters"])
    return {"prepared": True}


def _classify(adapter: type[Adapter], request: dict[str, Any]) -> dict[str, Any]:
    crops = np.load(request["crops"], allow_pickle=False)
    opened = adapter(request["parameters"])
    rows = [opened.predict(crops[i : i + 1]) for i in range(len(crops))]
    np.save(request["out"], np.concatenate([np.asarray(row, np.float32) for row in rows]))
    return {"describe": opened.describe()}


def _latency(adapter: type[Adapter], request: dict[str, Any]) -> dict[str, Any]:
    crops = list(np.load(request["crops"], allow_pickle=False))
    begun = time.monotonic_ns()
    opened = adapter(request["parameters"])
    loaded = time.monotonic_ns()
    opened.predict(crops[:1])
    answered = time.monotonic_ns()
    measured = _measure(opened, crops, request["scenario"])
    rss_mb = None
    with suppress(OSError):  # only Linux reports it
        rss_mb = resident_bytes() / 2**20
    return {
        "describe": opened.describe(),
        "answered_ns": answered,
        "load_ms": (loaded - begun) * _MS,
        "first_call_ms": (answered - loaded) * _MS,
        **measured,
        "rss_mb": rss_mb,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


_WORKS = {"prepare": _prepare, "classify": _classify, "latency": _latency}


def _measure(opened: Adapter, crops: list[Any], scenario: dict[str, Any]) -> dict[str, Any]:
    query = scenario["query"]
    batch = min(scenario["batch"], opened.max_batch or query)
    clients = scenario["clients"] or opened.concurrency
    queries = _queries(crops, query, batch)

    def call(index: int) -> None:
        for part in queries[index % len(queries)]:
            opened.predict(part)

    clock, limit_s = time.perf_counter_ns, scenario["limit_s"]
    warm = warm_up(call, clock, limit_s=scenario["warm_up_s"])
    gc.collect()
    closed_loop(call, clock, seconds=_SETTLE_S, count=1, limit_s=limit_s)
    seconds, count, rate = scenario["seconds"], scenario["count"], scenario["rate"]
    wall, cpu = time.perf_counter(), time.process_time()
    samples: Sequence[int | None]
    if rate is None:
        share = -(-count // clients)
        samples = side_by_side(
            lambda _: closed_loop(call, clock, seconds=seconds, count=share, limit_s=limit_s),
            clients,
        )
    else:
        arrivals = poisson_arrivals(rate, seconds, count, scenario["seed"])
        samples = open_loop(call, arrivals, clock, time.sleep, clients=clients, limit_s=limit_s)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    answered = [sample for sample in samples if sample is not None]
    return {
        "samples_ms": [round(sample * _MS, 6) for sample in answered],
        "unanswered": len(samples) - len(answered),
        "predictions": len(answered) * query,
        "wall_s": wall,
        "cpu_s": cpu,
        "clients": clients,
        "batch": batch,
        "warm": warm,
        "stages_ms": _stages(opened, queries, seconds, limit_s),
    }


def _stages(
    opened: Adapter, queries: list[list[list[Any]]], seconds: float, limit_s: float
) -> dict[str, float]:
    """Median times of the stages, in ms, each timed apart."""
    steps = {
        "preprocess": opened.preprocess,
        "inference": opened.infer,
        "postprocess": opened.postprocess,
    }
    taken: dict[str, list[int]] = {name: [] for name in steps}
    clock = time.perf_counter_ns

    def call(index: int) -> None:
        value: Any = queries[index % len(queries)][0]
        for name, step in steps.items():
            before = clock()
            value = step(value)
            taken[name].append(clock() - before)

    closed_loop(call, clock, seconds=seconds * _STAGED_SHARE, count=_STAGED_COUNT, limit_s=limit_s)
    return {name: median(times) * _MS for name, times in taken.items()}


def _queries(crops: list[Any], query: int, batch: int) -> list[list[list[Any]]]:
    """As many queries as there are crops; each is its crops, cut into calls of ``batch``."""
    rounds = []
    for first in range(len(crops)):
        own = [crops[(first * query + k) % len(crops)] for k in range(query)]
        rounds.append([own[k : k + batch] for k in range(0, query, batch)])
    return rounds


def resident_bytes(process: int | str = "self") -> int:
    """The resident memory of a process. Raises OSError unless the system is Linux."""
    pages = Path(f"/proc/{process}/statm").read_text("ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _reason(problem: Exception) -> str:
    text = " ".join(str(problem).split())[:500]
    # our own errors are whole sentences; an engine's errors need their type
    kinds = [kind.__name__ for kind in type(problem).__mro__]
    return text if "FerEdgeError" in kinds else f"{type(problem).__name__}: {text}"
