"""Which backend ``"auto"`` takes, and why."""

from __future__ import annotations

import os
from dataclasses import dataclass

from fer_edge.artifacts.model import Model
from fer_edge.backends.base import BackendOptions
from fer_edge.backends.table import AUTO_ORDER, BACKENDS
from fer_edge.backends.tuning_record import Candidate, Timing, Tuning, read_tuning, tuning_folder
from fer_edge.errors import ArtifactError, ConfigurationError, MissingDependencyError


@dataclass(frozen=True)
class Choice:
    """A backend, the reason in a sentence, and the threads that were measured best, if any."""

    name: str
    reason: str
    threads: int | None = None


def choose_backend(
    name: str,
    model: Model,
    precision: str | None = None,
    options: BackendOptions | None = None,
) -> Choice:
    """Resolve ``auto`` for a model; no engine is imported or run for it.

    What ``fer-edge doctor --tune`` measured with these very artifacts and engines on this machine
    decides, unless ``options`` have settings that it was not measured with. Otherwise it is the
    first of AUTO_ORDER that is installed, knows the device, and has an artifact of ``precision``
    (None: the manifest's) in its own format. If no backend has one in its own format, it is the
    first that opens another's.

    Raises ConfigurationError for an unknown name and for a model that no backend runs,
    MissingDependencyError where the backends that would run it are not installed, and ArtifactError
    for a file that cannot be read.
    """
    if name != "auto":
        if name not in BACKENDS:
            raise ConfigurationError(
                f"unknown backend {name!r}; there are auto, {', '.join(BACKENDS)}"
            )
        return Choice(name, "asked for")
    options = options or BackendOptions()
    device, threads = options.device, options.threads
    measured = options == BackendOptions(device, threads, goal=options.goal)
    passed_over: list[str] = []
    try:
        tuning = _measured(model, precision, device) if measured else None
    except ArtifactError as problem:  # a device goes on without its tuning, and says so
        tuning = None
        passed_over.append(str(problem))
    best = tuning.best(threads) if tuning else None
    if tuning and best:
        return Choice(best.backend, _describe(tuning, best), best.threads)
    able = [backend for backend in AUTO_ORDER if BACKENDS[backend].takes_device(device)]
    for own in (True, False):
        for backend in able:
            formats = BACKENDS[backend].formats
            if not model.offers(backend, precision, formats[:1] if own else formats[1:]):
                continue
            if missing := BACKENDS[backend].missing():
                passed_over.append(f"{backend} lacks {missing}")
                continue
            order = f"the first of {', '.join(AUTO_ORDER)} that is installed and has an artifact"
            others = f" ({'; '.join(passed_over)})" if passed_over else ""
            return Choice(backend, order + others)
    raise no_choice(model, precision, device)


def candidates(
    model: Model, precision: str | None = None, device: str = "auto"
) -> tuple[Candidate, ...]:
    """Every installed backend that knows ``device`` and opens an artifact of ``model``."""
    return tuple(
        Candidate(name, model.sha256(name, precision), entry.version())
        for name, entry in BACKENDS.items()
        if entry.takes_device(device) and model.offers(name, precision) and not entry.missing()
    )


def _measured(model: Model, precision: str | None, device: str) -> Tuning | None:
    try:
        if not os.path.isdir(tuning_folder()):
            return None  # so hashes and versions need not be looked up
    except ConfigurationError:  # a user without a home folder, where nothing can be kept
        return None
    return read_tuning(candidates(model, precision, device), device)


def _describe(tuning: Tuning, best: Timing) -> str:
    threads = "" if best.threads is None else f", threads={best.threads}"
    return (
        f"the fastest of {len(tuning.timings)} ways that fer-edge doctor --tune measured here on "
        f"{tuning.measured[:10]}: {best.p50_ms:.2f} ms{threads}"
    )


def no_choice(
    model: Model, precision: str | None, device: str
) -> ConfigurationError | MissingDependencyError:
    """Why no backend runs a model on a device, and what to do."""
    opening = {name: BACKENDS[name] for name in AUTO_ORDER if model.offers(name, precision)}
    if not opening:
        return model.nothing_for(None, precision)
    for entry in opening.values():
        if entry.takes_device(device) and (missing := entry.missing()):
            return entry.absence(missing)
    devices = "; ".join(f"{name} has {', '.join(e.devices)}" for name, e in opening.items())
    return ConfigurationError(f"no backend runs {model.name} on the device {device!r}; {devices}")
