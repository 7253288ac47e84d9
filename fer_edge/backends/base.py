"""What a backend is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fer_edge.artifact import Artifact
from fer_edge.spec import ModelSpec

__all__ = ["Backend", "BackendOptions", "EngineInfo"]


@dataclass(frozen=True)
class BackendOptions:
    """What a caller may ask of an engine. ``threads`` None leaves the number to the backend."""

    device: str = "auto"
    threads: int | None = None


@dataclass(frozen=True)
class EngineInfo:
    """What an engine says that it really does.

    ``provider`` is its own word for where it runs; ``inference_precision`` what it computes in;
    ``threads`` is None where the engine does not tell.
    """

    name: str
    version: str
    provider: str
    inference_precision: str
    threads: int | None


class Backend(ABC):
    """An opened artifact: ``infer`` and ``close``, nothing more.

    A constructor that takes ``(artifact, options)`` opens it, and sets ``spec``, read from the
    artifact itself, and ``engine``. It checks neither dtype nor shape: Predictor does.
    """

    spec: ModelSpec
    engine: EngineInfo

    @abstractmethod
    def __init__(self, artifact: Artifact, options: BackendOptions) -> None: ...

    @abstractmethod
    def infer(
        self, batch: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Run crops ``(N, H, W, C)``; logits and probabilities, float32 ``(N, 7)`` each.

        ``batch`` is C-contiguous; what is returned is the caller's to keep. Many threads may call
        it at once. Raises EngineError if the engine fails, and ClosedError after ``close``.
        """

    @abstractmethod
    def close(self) -> None:
        """Give back what the engine holds; calls that are under way finish. May be repeated."""
