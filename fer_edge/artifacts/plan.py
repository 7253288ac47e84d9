"""TensorRT plans: the sidecar of each, and which of them this machine trusts.

A plan is native code, so it is loaded only if an export on this machine recorded its hash, or if
the caller trusts it. A hash in a file beside the plan would not help: an attacker would write that,
too.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from fer_edge.artifacts.artifact import Artifact
from fer_edge.artifacts.record import decode, encode, parse_json
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.errors import ArtifactError, ConfigurationError
from fer_edge.system.files import write_json
from fer_edge.system.folders import data_folder

HARDWARE = ("this-gpu", "same-compute-capability", "ampere-plus")
"""The GPUs that a plan can be built for. The third is every GPU from compute capability 8.0 on,
Jetson left out."""

_MAX_BYTES = 8 << 20
_AMPERE = (8, 0)
"""The first compute capability that a hardware-compatible plan runs on."""


@dataclass(frozen=True)
class Gpu:
    """A GPU as CUDA names it; boards of one name differ in their number of multiprocessors."""

    name: str
    compute_capability: str
    multiprocessors: int

    def __str__(self) -> str:
        return (
            f"{self.name} (compute capability {self.compute_capability}, "
            f"{self.multiprocessors} multiprocessors)"
        )


@dataclass(frozen=True)
class PlanLayer:
    """A layer of the engine: its kind, the narrowest type that it reads, and whether it computes
    convolutions or matrix products of the ONNX, where nearly all of the time goes.
    """

    name: str
    kind: str
    precision: str
    matrix: bool


@dataclass(frozen=True)
class PlanSidecar:
    """What a plan is, what it was built for, and the precision that its layers compute in.

    ``inference_precision`` and ``shares`` were checked in the engine: ``shares`` are the fractions
    of the ONNX's convolutions and matrix products by type. ``hardware`` is one of ``HARDWARE``;
    ``dla_core`` is the core of a Jetson's deep learning accelerator that the plan was built for.
    """

    spec: ModelSpec
    plan_sha256: str
    tensorrt: str
    gpu: Gpu
    min_batch: int
    opt_batch: int
    max_batch: int
    inference_precision: str
    shares: dict[str, float] = field(default_factory=dict)
    layers: tuple[PlanLayer, ...] = ()
    hardware: str = "this-gpu"
    version_compatible: bool = False
    dla_core: int | None = None
    schema: int = 2

    def __post_init__(self) -> None:
        if self.hardware not in HARDWARE:
            raise ValueError(f"hardware should be {', '.join(HARDWARE)}, not {self.hardware}")
        if not 1 <= self.min_batch <= self.opt_batch <= self.max_batch:
            raise ValueError(
                "batches should be 1 <= min <= opt <= max, not "
                f"{self.min_batch}, {self.opt_batch}, {self.max_batch}"
            )

    @classmethod
    def from_json(cls, text: str | bytes, where: str) -> PlanSidecar:
        """Parse and check. Raises ArtifactError; ``where`` names the source."""
        return decode(cls, parse_json(text, where, _MAX_BYTES), where)

    def write(self, plan: Path) -> None:
        """Write beside ``plan``."""
        write_json(sidecar_path(plan), encode(self))

    def misfits(self, tensorrt: str, gpu: Gpu) -> list[str]:
        """Why this plan does not run under a version of TensorRT on a GPU; empty if it does."""
        found = []
        if not self._runs_under(tensorrt):
            found.append(f"it was built by TensorRT {self.tensorrt}, and {tensorrt} is installed")
        if not self._runs_on(gpu):
            found.append(f"it was built for {self.gpu}, and the GPU here is {gpu}{self._mode(gpu)}")
        return found

    def _mode(self, gpu: Gpu) -> str:
        """What to do where the GPU is the same one with another number of multiprocessors."""
        if replace(gpu, multiprocessors=self.gpu.multiprocessors) != self.gpu:
            return ""
        return (
            "; on a Jetson the power mode decides how many multiprocessors run (nvpmodel -q tells "
            "it): set the mode that the plan was built in, or build it again in this one"
        )

    def _runs_under(self, tensorrt: str) -> bool:
        if not self.version_compatible:
            return tensorrt == self.tensorrt
        # a version-compatible plan runs under later versions of the same major version
        built, here = _version(self.tensorrt), _version(tensorrt)
        return built[:1] == here[:1] and built <= here

    def _runs_on(self, gpu: Gpu) -> bool:
        if self.hardware == "ampere-plus":
            return _version(gpu.compute_capability) >= _AMPERE
        if self.hardware == "same-compute-capability":
            return gpu.compute_capability == self.gpu.compute_capability
        return gpu == self.gpu


def sidecar_path(plan: Path) -> Path:
    """``NAME.plan.json`` beside ``NAME.plan``."""
    return plan.with_suffix(".plan.json")


def read_sidecar(artifact: Artifact) -> PlanSidecar | None:
    """Read a plan's sidecar; None where it has none and the caller gave a spec instead.

    Raises ArtifactError for a plan with neither, for a damaged sidecar, and for one that belongs
    to another plan.
    """
    name = sidecar_path(artifact.path).name
    if name not in artifact.companions:
        if artifact.spec is not None:
            return None
        raise ArtifactError(
            f"{artifact.path} has no {name} beside it, which says what it is; copy both files, "
            "build the plan again with fer-export, or give its spec"
        )
    where = str(artifact.path.with_name(name))
    sidecar = PlanSidecar.from_json(artifact.companions[name], where)
    if sidecar.plan_sha256 != artifact.sha256:
        raise ArtifactError(
            f"{artifact.path} is damaged, or {name} is another plan's: its sha256 is "
            f"{artifact.sha256[:12]}…, the sidecar says {sidecar.plan_sha256[:12]}…; copy both "
            "files again, or build the plan again"
        )
    return sidecar


def trust_plan(sha256: str, plan: Path) -> None:
    """Record that this machine built the plan with this hash, and the sidecar beside it."""
    sidecar = hashlib.sha256(sidecar_path(plan).read_bytes()).hexdigest()
    write_json(_record(sha256), {"plan": str(plan.absolute()), "sidecar_sha256": sidecar})


def is_trusted(sha256: str) -> bool:
    """Whether an export on this machine recorded a plan with this hash."""
    try:
        return os.path.isfile(_record(sha256))  # Path.is_file raises where it may not look
    except ConfigurationError:  # a user without a home folder, where nothing was recorded
        return False


def require_trust(artifact: Artifact, *, trust: bool) -> None:
    """Raise ArtifactError for a plan that neither this machine built nor the caller trusts, and for
    one whose sidecar was changed since.
    """
    if trust:
        return
    if not is_trusted(artifact.sha256):
        raise ArtifactError(
            f"{artifact.path} is native code that no export on this machine recorded. Build it "
            "here with fer-export --from-onnx, or, if you know where it comes from, open it with "
            "options=BackendOptions(trust=True)"
        )
    record = parse_json(_record(artifact.sha256).read_bytes(), "the record of this plan")
    recorded = record.get("sidecar_sha256") if isinstance(record, dict) else None
    sidecar = artifact.companions.get(sidecar_path(artifact.path).name)
    if sidecar is not None and hashlib.sha256(sidecar).hexdigest() != recorded:
        raise ArtifactError(
            f"{sidecar_path(artifact.path)} was changed since this machine built the plan; copy "
            "it again from the export, or build the plan again"
        )


def _record(sha256: str) -> Path:
    # one file for each plan, so that exports side by side do not overwrite each other's record
    return data_folder() / "trusted-plans" / f"{sha256}.json"


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())
