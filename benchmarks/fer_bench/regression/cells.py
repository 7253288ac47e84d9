"""What there is to test: every artifact of a model on every backend of this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fer_edge.artifacts.artifact import Artifact, format_of, read_artifact, read_entry
from fer_edge.artifacts.manifest import ArtifactEntry, GoldenCrop, Manifest
from fer_edge.artifacts.model import Model, model_path
from fer_edge.backends import BACKENDS, backend_problem
from fer_edge.errors import ConfigurationError

__all__ = ["Cell", "ModelUnderTest", "file_name", "find_model"]


@dataclass(frozen=True)
class Cell:
    """One artifact on one backend; ``entry`` is None for a file that no manifest lists."""

    folder: Path
    file: str
    backend: str
    entry: ArtifactEntry | None

    @property
    def name(self) -> str:
        """How reports and baselines call it."""
        return f"{self.file}[{self.backend}]"

    @property
    def path(self) -> Path:
        """The artifact's file."""
        return self.folder / self.file

    def read(self) -> Artifact:
        """The artifact and its companions as the runtime reads them; what it refuses, this does.

        Raises ArtifactError.
        """
        if self.entry is not None:
            return read_entry(self.folder, self.entry)
        return read_artifact(self.path)


@dataclass(frozen=True)
class ModelUnderTest:
    """A model directory, or one artifact (``manifest`` None), and its cells.

    ``absent`` lists backends that this machine lacks, with the reason.
    """

    path: Path
    manifest: Manifest | None
    cells: tuple[Cell, ...]
    absent: dict[str, str]

    @property
    def name(self) -> str:
        """The manifest's, or the artifact's without its suffix."""
        return self.manifest.name if self.manifest else self.path.stem

    @property
    def golden(self) -> tuple[GoldenCrop, ...]:
        """The manifest's golden crops."""
        return self.manifest.golden if self.manifest else ()

    @property
    def files(self) -> set[str]:
        """Names of all artifacts, those that nothing opens here included."""
        return {e.file for e in self.manifest.artifacts} if self.manifest else {self.path.name}

    def hashes(self) -> dict[str, str]:
        """The sha256 of each of ``files``: the manifest's, or that of the one artifact.

        Raises ArtifactError.
        """
        if self.manifest is None:
            return {self.path.name: self.cells[0].read().sha256}
        return {entry.file: entry.sha256 for entry in self.manifest.artifacts}


def find_model(
    model: str | os.PathLike[str], backends: Sequence[str] | None = None
) -> ModelUnderTest:
    """List the cells of a model directory or artifact, in the manifest's order.

    ``backends`` limits them. Engines that open none of the artifacts are not imported. Raises
    ArtifactError for what is no model, and ConfigurationError for a backend that does not exist,
    for one that was named and is not installed, and where nothing is left to test.
    """
    if unknown := [name for name in backends or () if name not in BACKENDS]:
        raise ConfigurationError(
            f"unknown backend {', '.join(unknown)}; there are {', '.join(BACKENDS)}"
        )
    opened = Model.open(model)
    path, manifest = opened.path, opened.manifest
    files: list[tuple[str, ArtifactEntry | None]] = [(path.name, None)]
    if manifest:
        files = [(entry.file, entry) for entry in manifest.artifacts]
    wanted = [
        name
        for name in backends or BACKENDS
        if any(_fits(file, name, entry) for file, entry in files)
    ]
    absent = _absent(wanted)
    if backends and absent:
        raise ConfigurationError(" ".join(absent.values()))
    folder = path if manifest else path.parent
    cells = [
        Cell(folder, file, backend, entry)
        for file, entry in files
        for backend in wanted
        if backend not in absent and _fits(file, backend, entry)
    ]
    if not cells:
        raise ConfigurationError(
            f"no backend of this machine opens an artifact of {path}; {' '.join(absent.values())}"
        )
    return ModelUnderTest(path, manifest, tuple(cells), absent)


def file_name(model: str | os.PathLike[str]) -> str:
    """How the file of a model's baseline is called: after its folder, or its one artifact."""
    path = model_path(model)
    return f"{path.resolve().name if os.path.isdir(path) else path.stem}.json"


def _absent(backends: Sequence[str]) -> dict[str, str]:
    """Those whose engine is not installed, or broken, and why."""
    return {name: problem for name in backends if (problem := backend_problem(name))}


def _fits(file: str, backend: str, entry: ArtifactEntry | None) -> bool:
    made_for = entry.backends if entry else ()
    opens = format_of(file) in BACKENDS[backend].formats
    return opens and (not made_for or backend in made_for)
