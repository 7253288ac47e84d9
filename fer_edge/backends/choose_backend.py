"""Which backend ``"auto"`` is, and why."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from fer_edge.artifacts.artifact import (
    DEFAULT_MODEL,
    FORMATS,
    check_model,
    find_artifact,
    fitting_entry,
    model_path,
)
from fer_edge.artifacts.manifest import Manifest
from fer_edge.backends.table import AUTO_ORDER, BACKENDS
from fer_edge.backends.tuning_record import Candidate, Timing, Tuning, read_tuning, tuning_folder
from fer_edge.errors import ArtifactError, ConfigurationError, MissingDependencyError
from fer_edge.system.files import sha256_of

__all__ = ["Choice", "candidates", "choose_backend"]

_ASKED_FOR = "asked for"


@dataclass(frozen=True)
class Choice:
    """A backend, the reason in a sentence, and the threads that were measured best, if any."""

    name: str
    reason: str
    threads: int | None = None


def choose_backend(
    name: str = "auto",
    model: str | os.PathLike[str] = DEFAULT_MODEL,
    precision: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    *,
    measured: bool = True,
) -> Choice:
    """Resolve ``auto`` for a model; nothing is run or imported for it.

    What ``fer-edge doctor --tune`` measured with these very artifacts and engines on this machine
    decides, unless ``measured`` is False: for options that it was not measured with. Else the first
    of AUTO_ORDER that is installed, knows ``device``, and for which ``model`` has an artifact of
    ``precision`` (None: the manifest's) in its own format; else the first that opens another's.
    Raises ConfigurationError for an unknown name and for a model that no backend runs,
    MissingDependencyError where those that would are not installed, and ArtifactError for a damaged
    model.
    """
    if name != "auto":
        if name not in BACKENDS:
            raise ConfigurationError(
                f"unknown backend {name!r}; there are auto, {', '.join(BACKENDS)}"
            )
        return Choice(name, _ASKED_FOR)
    contents = _Contents(model, precision)
    passed_over: list[str] = []
    try:
        tuning = _measured(contents, device) if measured else None
    except ArtifactError as problem:  # a device goes on without its tuning, and says so
        tuning = None
        passed_over.append(str(problem))
    best = tuning.best(threads) if tuning else None
    if tuning and best:
        return Choice(best.backend, _told(tuning, best), best.threads)
    able = _able(device)
    for own in (True, False):
        for backend in able:
            formats = BACKENDS[backend].formats
            if not contents.has(backend, formats[:1] if own else formats[1:]):
                continue
            if missing := BACKENDS[backend].missing():
                passed_over.append(f"{backend} lacks {missing}")
                continue
            return Choice(backend, _by_order(passed_over))
    raise _no_choice(contents, device, able)


def candidates(
    model: str | os.PathLike[str], precision: str | None = None, device: str = "auto"
) -> tuple[Candidate, ...]:
    """Every installed backend that knows ``device`` and opens an artifact of ``model``.

    Raises ArtifactError for a damaged model, and as ``find_artifact`` where there is no artifact.
    """
    contents = _Contents(model, precision)
    check_model(model)
    if not (found := _usable(contents, device)):
        raise _no_choice(contents, device, _able(device))
    return found


class _Contents:
    """What a model offers to each backend."""

    def __init__(self, model: str | os.PathLike[str], precision: str | None) -> None:
        self.model, self.precision = model, precision
        self.path = model_path(model)
        self._manifest = Manifest.read(self.path) if os.path.isdir(self.path) else None
        self._digest: str | None = None

    def has(self, backend: str, formats: tuple[str, ...]) -> bool:
        if self._manifest is None:
            return FORMATS.get(self.path.suffix) in formats
        return self._entry_sha256(self._manifest, backend, formats) is not None

    def sha256(self, backend: str, formats: tuple[str, ...]) -> str:
        """Of the artifact that the backend would open; it has one."""
        if self._manifest is not None:
            return self._entry_sha256(self._manifest, backend, formats) or ""
        if self._digest is None:
            self._digest = sha256_of(self.path)
        return self._digest

    def _entry_sha256(
        self, manifest: Manifest, backend: str, formats: tuple[str, ...]
    ) -> str | None:
        precision = self.precision or manifest.precision
        entry = fitting_entry(manifest, backend=backend, formats=formats, precision=precision)
        return None if entry is None else entry.sha256


def _able(device: str) -> list[str]:
    """The backends that know a device, in order."""
    return [name for name in AUTO_ORDER if BACKENDS[name].takes_device(device)]


def _usable(contents: _Contents, device: str) -> tuple[Candidate, ...]:
    return tuple(
        Candidate(name, contents.sha256(name, entry.formats), entry.version())
        for name, entry in BACKENDS.items()
        if entry.takes_device(device)
        and contents.has(name, entry.formats)
        and entry.missing() is None
    )


def _measured(contents: _Contents, device: str) -> Tuning | None:
    try:
        if not os.path.isdir(tuning_folder()):
            return None  # hashes and versions need not be looked up
        return read_tuning(_usable(contents, device), device)
    except (OSError, ConfigurationError):  # no artifact there, or no home: the rest says so
        return None


def _told(tuning: Tuning, best: Timing) -> str:
    threads = "" if best.threads is None else f", threads={best.threads}"
    return (
        f"the fastest of {len(tuning.timings)} ways that fer-edge doctor --tune measured here on "
        f"{tuning.measured[:10]}: {best.p50_ms:.2f} ms{threads}"
    )


def _by_order(passed_over: list[str]) -> str:
    order = f"the first of {', '.join(AUTO_ORDER)} that is installed and has an artifact"
    return f"{order} ({'; '.join(passed_over)})" if passed_over else order


def _no_choice(contents: _Contents, device: str, able: list[str]) -> Exception:
    for name in able:
        entry = BACKENDS[name]
        if contents.has(name, entry.formats) and (missing := entry.missing()):
            return MissingDependencyError(missing, entry.extra, entry.source)
    formats = tuple(dict.fromkeys(form for name in able for form in BACKENDS[name].formats))
    if able:  # says what the model lacks
        find_artifact(contents.model, backend="any", formats=formats, precision=contents.precision)
    return ConfigurationError(
        f"no backend runs {Path(contents.path)} on the device {device!r}; the kinds of devices "
        f"are {', '.join(sorted({kind for e in BACKENDS.values() for kind in e.devices}))}"
    )
