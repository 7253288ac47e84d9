"""What ``fer-edge doctor --tune`` measured on this device, and where it is kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from fer_edge.artifacts.record import decode, encode, json_digest, parse_json
from fer_edge.backends.base import MAX_THREADS
from fer_edge.errors import ArtifactError, ConfigurationError
from fer_edge.system.cores import usable_cores
from fer_edge.system.files import write_json
from fer_edge.system.folders import HOME_VARIABLE, data_folder
from fer_edge.system.machine import cpu_name

_FOLDER = "tuning"
_TIE = 0.05
_MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Candidate:
    """A backend, the artifact that it would open, and the version of its engine."""

    backend: str
    sha256: str
    version: str


@dataclass(frozen=True)
class Timing:
    """Median time of one call with one crop, in ms; ``threads`` None leaves them to the backend."""

    backend: str
    threads: int | None
    p50_ms: float
    provider: str
    inference_precision: str


@dataclass(frozen=True)
class Failure:
    """A backend that could not be measured, and why."""

    backend: str
    reason: str


@dataclass(frozen=True)
class Tuning:
    """A measurement. It is used while candidates, device and machine stay the same.

    ``measured`` is a date and time (ISO 8601, UTC).
    """

    model: str
    precision: str
    device: str
    machine: str
    measured: str
    candidates: tuple[Candidate, ...]
    timings: tuple[Timing, ...]
    failures: tuple[Failure, ...] = ()
    schema: int = 1

    def __post_init__(self) -> None:
        known = {one.backend for one in self.candidates}
        for timing in self.timings:
            if not timing.p50_ms > 0:
                raise ValueError("a time should be above 0 ms")
            if timing.backend not in known:
                raise ValueError(f"{timing.backend} was measured but is not a candidate")
            if timing.threads is not None and not 1 <= timing.threads <= MAX_THREADS:
                raise ValueError(f"threads should be 1 to {MAX_THREADS}, not {timing.threads}")

    def best(self, threads: int | None = None) -> Timing | None:
        """The fastest timing; of those within 5 % of it, the one with the fewest threads.

        If the caller asks for a number of ``threads``, only timings with that number are compared,
        as far as there are any.
        """
        insisted = [timing for timing in self.timings if timing.threads == threads]
        compared = insisted if threads is not None and insisted else list(self.timings)
        if not compared:
            return None
        limit = min(timing.p50_ms for timing in compared) * (1 + _TIE)
        close = [timing for timing in compared if timing.p50_ms <= limit]
        return min(close, key=lambda timing: (timing.threads or 0, timing.p50_ms))

    def write(self) -> Path:
        """Write the measurement, whole or not at all, and return its path. Raises OSError."""
        path = _path(self.candidates, self.device)
        write_json(path, encode(self))
        return path


def tuning_folder() -> Path:
    """Where measurements are kept; it need not exist. Raises what ``data_folder`` raises."""
    return data_folder() / _FOLDER


def check_tuning_folder() -> None:
    """Make the folder. Raises ConfigurationError where nothing can be kept in it."""
    folder = tuning_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()
    except OSError as problem:
        raise ConfigurationError(
            f"the measurement cannot be kept in {folder} ({problem.strerror}); set "
            f"{HOME_VARIABLE} to a folder that can be written to"
        ) from problem


def read_tuning(candidates: tuple[Candidate, ...], device: str) -> Tuning | None:
    """The measurement of exactly these artifacts and engines on this machine, if there is one.

    Raises ArtifactError for a damaged file.
    """
    try:
        path = _path(candidates, device)
        with path.open("rb") as stream:
            text = stream.read(_MAX_BYTES)
    except (OSError, ConfigurationError):
        return None
    again = f"{path} (measure again with fer-edge doctor --tune, or remove it)"
    tuning = decode(Tuning, parse_json(text, again), again)
    if tuning.candidates != candidates:
        raise ArtifactError(f"{again} is damaged: it measured other artifacts or engines")
    return tuning


def this_machine() -> str:
    """What a measurement is valid for: the processor, and how many of its cores are usable."""
    return f"{cpu_name()}, {usable_cores()} cores"


def _path(candidates: tuple[Candidate, ...], device: str) -> Path:
    identity = [sorted(encode(one).items()) for one in candidates]
    return tuning_folder() / f"{json_digest([identity, device, this_machine()])[:32]}.json"
