"""What is measured: every (model, backend, precision, threads, batch) that was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from fer_bench.launching import WORKER, Program
from fer_bench.peers import Peer, adapter_program, load_peers
from fer_bench.scenarios import SCENARIOS
from fer_edge.artifacts.model import Model, check_model
from fer_edge.backends import BACKENDS
from fer_edge.errors import ConfigurationError, FerEdgeError
from fer_edge.predictor import Predictor
from fer_edge.system.cores import default_threads, usable_cores

ALL = "all"
"""Stands for every backend that this machine has, or every precision that a model has."""

_MAX_BATCH = 1024
_BARE = {"onnxruntime": "bare-onnxruntime", "openvino": "bare-openvino"}


@dataclass(frozen=True)
class Candidate:
    """What becomes one row of a result. ``peer`` is None for a Predictor of ours."""

    model: str
    scenario: str
    batch: int | None = None
    backend: str = "auto"
    device: str = "auto"
    precision: str | None = None
    inference_precision: str | None = None
    threads: int | None = None
    peer: Peer | None = None
    artifact: Path | None = None

    @property
    def kind(self) -> str:
        """``model``, ``peer``, or ``bare`` for a model's file in its engine without Predictor."""
        if self.peer is None:
            return "model"
        return "peer" if self.artifact is None else "bare"

    @property
    def crops_per_call(self) -> int:
        """How many crops one call of the engine takes."""
        return self.batch or SCENARIOS[self.scenario].batch

    @property
    def program(self) -> Program:
        """The process that measures it. Raises ConfigurationError if a peer is not installed."""
        asked: dict[str, Any] = {"threads": self.threads}
        if self.kind != "peer":
            asked["inference_precision"] = self.inference_precision
            asked["goal"] = SCENARIOS[self.scenario].goal
        if self.peer is None:
            ours = ("model", "backend", "device", "precision")
            return Program(WORKER, asked | {name: getattr(self, name) for name in ours})
        if self.artifact is not None:
            asked |= {"artifact": str(self.artifact.absolute()), "batch": self.crops_per_call}
        return adapter_program(self.peer, asked)

    def open(self) -> Predictor:
        """Open a model of ours as it was asked for. Raises what Predictor raises."""
        return Predictor(
            self.model,
            backend=self.backend,
            device=self.device,
            precision=self.precision,
            threads=self.threads,
        )

    def __str__(self) -> str:
        parts = [self.model, self.backend if self.peer is None else None, self.precision]
        parts += [self.inference_precision, f"{self.threads} threads" if self.threads else None]
        return " ".join(part for part in [*parts, self.scenario] if part and part != "auto")


def candidates_for(
    models: Sequence[str],
    *,
    backends: Sequence[str] = ("auto",),
    precisions: Sequence[str | None] = (None,),
    inference_precisions: Sequence[str | None] = (None,),
    threads: Sequence[int | None] = (None,),
    batches: Sequence[int | None] = (None,),
    scenarios: Sequence[str] = ("single-stream",),
    device: str = "auto",
    peers: Sequence[Peer] = (),
) -> list[Candidate]:
    """Every combination of the models, then of the peers, scenario by scenario.

    ``all`` stands for the backends that this machine has, or the precisions that the model has.
    What was named is kept even if it cannot run: its row then says why. Raises ConfigurationError
    for an unknown backend, a batch that is out of range and a file that is no artifact, and
    ArtifactError for a missing model.
    """
    for model in models:
        check_model(model)
    for batch in batches:
        if batch is not None and not 1 <= batch <= _MAX_BATCH:
            raise ConfigurationError(f"batch should be 1 to {_MAX_BATCH}, not {batch}")
    found = []
    for scenario, batch, count in product(scenarios, batches, threads):
        for model in models:
            for backend, precision in choices(model, backends, precisions):
                asked = (model, scenario, batch, backend, device, precision)
                found += [Candidate(*asked, inference, count) for inference in inference_precisions]
        found += [
            Candidate(peer.name, scenario, batch, peer.backend, threads=count, peer=peer)
            for peer in peers
        ]
    return found


def bare_candidates(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Add the same file without Predictor after each model on ONNX Runtime or OpenVINO.

    Raises ConfigurationError for the backend ``auto``: it has to be named.
    """
    peers, found = load_peers(), []
    for candidate in candidates:
        found.append(candidate)
        if candidate.kind != "model":
            continue
        if candidate.backend == "auto":
            raise ConfigurationError("--bare needs an engine; name a --backend")
        if candidate.device not in ("auto", "cpu"):
            raise ConfigurationError(
                f"the bare loops run on the CPU, not on {candidate.device}; leave --bare out"
            )
        if candidate.backend in _BARE:
            try:
                model = Model.open(candidate.model)
                artifact = model.artifact(candidate.backend, candidate.precision)
            except FerEdgeError:  # the model's own row says why
                continue
            peer = peers[_BARE[candidate.backend]]
            # as many threads as our backends take by default
            latency = SCENARIOS[candidate.scenario].goal == "latency"
            threads = candidate.threads or (default_threads() if latency else usable_cores())
            found.append(replace(candidate, peer=peer, artifact=artifact.path, threads=threads))
    return found


def choices(
    model: str, backends: Sequence[str], precisions: Sequence[str | None]
) -> list[tuple[str, str | None]]:
    """Pairs of backend and precision; ``all`` stands for what the model and this machine have.

    A broken engine or model is kept, and so is everything if nothing fits: opening it will say why.
    Raises ConfigurationError for an unknown backend.
    """
    known = ("auto", ALL, *BACKENDS)
    if unknown := sorted(set(backends) - set(known)):
        raise ConfigurationError(
            f"unknown backend {', '.join(unknown)}; there are {', '.join(known)}"
        )
    opened = None
    with suppress(FerEdgeError):
        opened = Model.open(model)
    usable = [name for name, entry in BACKENDS.items() if entry.missing() is None]
    has: Sequence[str | None] = (opened.precisions if opened else ()) or [None]
    engines = [name for asked in backends for name in (usable if asked == ALL else [asked])]
    kinds = [name for asked in precisions for name in (has if asked == ALL else [asked])]
    pairs = list(dict.fromkeys(product(engines, kinds)))
    if opened is None or ALL not in (*backends, *precisions):
        return pairs
    return [pair for pair in pairs if pair[0] == "auto" or opened.offers(*pair)] or pairs
