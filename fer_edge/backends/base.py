"""What a backend is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from fer_edge.arguments import whole_number
from fer_edge.artifacts.artifact import Artifact
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.errors import ConfigurationError
from fer_edge.system.cores import default_threads, usable_cores
from fer_edge.system.forking import ProcessBound

Crops: TypeAlias = npt.NDArray[np.uint8]
"""``(N, H, W, C)``, C-contiguous."""

Answers: TypeAlias = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
"""Logits and probabilities, ``(N, 7)`` each."""

MAX_THREADS = 1024
"""More would be a typing error, and engines start every thread that they are told to."""

GOALS = ("latency", "throughput")
_MAX_REASON = 300

INFERENCE_PRECISIONS = ("fp32", "bf16", "fp16")
"""The precisions that a caller may ask an engine to compute in."""


@dataclass(frozen=True)
class BackendOptions:
    """Settings of an engine. ``Predictor(..., options=BackendOptions(...))`` takes them.

    A setting that the chosen backend does not have is a ConfigurationError.

    Parameters
    ----------
    device, threads
        The same as Predictor's own arguments of these names; give each in one place.
    inference_precision
        ``"bf16"`` or ``"fp16"`` computes in less than the artifact's own precision, where the
        engine can. None, the default, computes as the artifact says.
    goal
        ``"latency"`` makes one call as fast as possible; ``"throughput"`` runs many calls side by
        side, each of them slower.
    spinning
        Idle threads keep their cores. The next call starts some microseconds earlier, and other
        programs get less of the processor. ONNX Runtime and TensorRT have this setting.
    trust
        Open a TensorRT plan that no export on this machine recorded. A plan is native code: trust
        only what you built yourself.
    compiled
        Compile the network with ``torch.compile``. It runs faster and takes up to a minute to
        start. Only the backend ``torch`` has this setting.
    """

    device: str = "auto"
    threads: int | None = None
    inference_precision: str | None = None
    goal: str = "latency"
    spinning: bool = False
    trust: bool = False
    compiled: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.device, str):
            raise ConfigurationError(
                f"device should be a name, such as 'cpu' or 'cuda:0', not {self.device!r:.40}"
            )
        if self.threads is not None:
            threads = whole_number("threads", self.threads, MAX_THREADS)
            object.__setattr__(self, "threads", threads)
        if self.goal not in GOALS:
            raise ConfigurationError(f"unknown goal {self.goal!r}; there are {', '.join(GOALS)}")
        wanted = self.inference_precision
        if wanted is not None and wanted not in INFERENCE_PRECISIONS:
            raise ConfigurationError(
                f"unknown inference precision {wanted!r}; there are "
                f"{', '.join(INFERENCE_PRECISIONS)}"
            )

    def with_arguments(self, *, device: str, threads: int | None) -> BackendOptions:
        """A copy with Predictor's own arguments in place of the defaults.

        Raises ConfigurationError where an argument and a setting differ.
        """
        given: dict[str, Any] = {"device": device, "threads": threads}
        for name, argument in given.items():
            default, here = getattr(BackendOptions, name), getattr(self, name)
            if default not in (argument, here) and argument != here:
                raise ConfigurationError(
                    f"{name} was given twice, as {argument!r} and in options as {here!r}; give it "
                    "once"
                )
        return replace(self, **{k: v for k, v in given.items() if v != getattr(BackendOptions, k)})

    def kind_and_number(self, engine: str, *kinds: str) -> tuple[str, int]:
        """Read a device such as ``cuda:1``; ``auto`` is the first of ``kinds``.

        Raises ConfigurationError for one of another kind, and for a numbered CPU.
        """
        kind, colon, number = (kinds[0] if self.device == "auto" else self.device).partition(":")
        if kind not in kinds or (colon and (kind == "cpu" or not number.isdecimal())):
            raise ConfigurationError(
                f"{engine} has no device {self.device!r}; there are auto, {', '.join(kinds)}, and "
                "cuda:1 for the second GPU"
            )
        return kind, int(number or 0)

    def cpu_threads(self) -> int:
        """Threads on the CPU: as asked for, else all usable cores for throughput, or half."""
        usual = usable_cores if self.goal == "throughput" else default_threads
        return self.threads or usual()

    def refuse(self, engine: str, *names: str) -> None:
        """Raise ConfigurationError if one of these options, which ``engine`` lacks, is set."""
        for name in names:
            if (value := getattr(self, name)) != getattr(BackendOptions, name):
                raise ConfigurationError(
                    f"{engine} has no setting {name}={value!r}; leave it out, or name a backend "
                    "that has it"
                )


@dataclass(frozen=True)
class EngineInfo:
    """What an engine reports about itself.

    ``provider`` is its own name for where it runs, and ``inference_precision`` what it computes in.
    ``threads`` is None where the engine does not say. ``concurrency`` is how many calls of
    ``infer`` are worth running side by side. ``max_batch`` is the most crops of one call, None
    without a limit.
    """

    name: str
    version: str
    provider: str
    inference_precision: str
    threads: int | None
    concurrency: int = 1
    max_batch: int | None = None


class Backend(ProcessBound, ABC):
    """An opened artifact, with two methods: ``infer`` and ``close``.

    The constructor takes ``(artifact, options)``, opens the artifact, and sets ``engine`` and
    ``spec``, which it reads from the artifact. A backend does not check the dtype and shape of a
    batch, nor that it has at most ``engine.max_batch`` crops, since Predictor does. It is bound to
    the process that opened it.
    """

    spec: ModelSpec
    engine: EngineInfo

    @abstractmethod
    def __init__(self, artifact: Artifact, options: BackendOptions) -> None: ...

    @abstractmethod
    def infer(self, batch: Crops) -> Answers:
        """Run crops; returns logits and probabilities.

        ``batch`` belongs to the caller, who overwrites it after the call; the arrays that are
        returned must not refer to it or to memory of the engine. Many threads may call this method
        at once. Raises EngineError if the engine fails, and ClosedError after ``close``.
        """

    @abstractmethod
    def close(self) -> None:
        """Free what the engine holds. Calls that are under way finish. May be repeated."""


def one_line(problem: Exception) -> str:
    """The message of an engine's error on one line of at most 300 characters."""
    return " ".join(str(problem).split())[:_MAX_REASON] or repr(problem)
