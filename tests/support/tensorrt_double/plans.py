"""Plans of the double beside their sidecars, as an export leaves them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_edge.artifacts.artifact import Artifact
from fer_edge.artifacts.plan import Gpu, PlanSidecar, sidecar_path, trust_plan
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.backends import Backend
from tensorrt_double.cuda import GPU
from tensorrt_double.engine import plan_bytes

__all__ = ["BATCHES", "CLOSE", "Answer", "Crops", "Open", "Plan", "crops"]

Crops = npt.NDArray[np.uint8]
Answer = Callable[[Crops], tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]
Open = Callable[..., Backend]
BATCHES = (1, 2, 4)
CLOSE = 1e-4


class Plan:
    """A plan of an ONNX that this machine built, and trusts."""

    def __init__(self, path: Path, model: bytes, spec: ModelSpec, tensorrt: str) -> None:
        self.path = path
        self.data = plan_bytes(model, batches=BATCHES, layers=[], detailed=True)
        name, major, minor, multiprocessors = GPU
        self.sidecar = PlanSidecar(
            spec=spec,
            plan_sha256=hashlib.sha256(self.data).hexdigest(),
            tensorrt=tensorrt,
            gpu=Gpu(name, f"{major}.{minor}", multiprocessors),
            min_batch=BATCHES[0],
            opt_batch=BATCHES[1],
            max_batch=BATCHES[2],
            inference_precision="fp16",
        )
        self.change()

    def change(self, data: bytes | None = None, **changes: Any) -> None:
        """Build another plan in its place."""
        self.data = self.data if data is None else data
        changes["plan_sha256"] = hashlib.sha256(self.data).hexdigest()
        self.sidecar = dataclasses.replace(self.sidecar, **changes)
        self.sidecar.write(self.path)
        trust_plan(self.sidecar.plan_sha256, self.path)

    def artifact(self, *, spec: ModelSpec | None = None, bare: bool = False) -> Artifact:
        """The plan as a model directory gives it; a ``bare`` one has no sidecar."""
        self.sidecar.write(self.path)
        name = sidecar_path(self.path)
        companions = {} if bare else {name.name: name.read_bytes()}
        digest = hashlib.sha256(self.data).hexdigest()
        return Artifact(self.path, "tensorrt", self.data, digest, companions, spec)


def crops(count: int, seed: int = 0) -> Crops:
    """Random crops ``(count, 48, 48, 1)``."""
    return np.random.default_rng(seed).integers(0, 256, (count, 48, 48, 1), np.uint8)
