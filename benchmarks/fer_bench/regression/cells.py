"""What there is to test: every artifact of a model on every backend of this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fer_edge.artifacts.artifact import Artifact, format_of, read_artifact, read_entry
from fer_edge.artifacts.manifest import ArtifactEntry, GoldenCrop, Manifest
from fer_edge.artifacts.model import Model, model_path
from fer_edge.backends import BACKENDS, backend_problem
from fer_edge.errors import ConfigurationError


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
        """Read the artifact and its companions as the runtime does. Raises ArtifactError."""
        if self.entry is not None:
            return read_entry(self.folder, self.entry)
        return read_artifact(self.path)


@dataclass(frozen=True)
class ModelUnderTest:
    """A model directory, or one artifact (``manifest`` is None), and its cells.

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
        """The crops with known answers; none without a manifest."""
        return self.manifest.golden if self.manifest else ()

    @property
    def files(self) -> set[str]:
        """Names of all artifacts, including those that no backend here opens."""
        return {e.file for e in self.manifest.artifacts} if self.manifest else {self.path.name}

    def hashes(self) -> dict[str, str]:
        """The sha256 of each of ``files``, read from the manifest if there is one.

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
    folder = path if manifest else path.parent
    entries: Mapping[str, ArtifactEntry | None] = {path.name: None}
    if manifest:
        entries = {entry.file: entry for entry in manifest.artifacts}
    fitting = [
        Cell(folder, file, backend, entry)
        for file, entry in entries.items()
        for backend in backends or BACKENDS
        if format_of(file) in BACKENDS[backend].formats
        and (entry is None or not entry.backends or backend in entry.backends)
    ]
    wanted = dict.fromkeys(cell.backend for cell in fitting)
    absent = {name: problem for name in wanted if (problem := backend_problem(name))}
    if backends and absent:
        raise ConfigurationError(" ".join(absent.values()))
    cells = tuple(cell for cell in fitting if cell.backend not in absent)
    if not cells:
        raise ConfigurationError(
            f"no backend on this machine opens an artifact of {path}. {' '.join(absent.values())}"
        )
    return ModelUnderTest(path, manifest, cells, absent)


def file_name(model: str | os.PathLike[str]) -> str:
    """The name of a model's baseline file, after the model's folder or its one artifact."""
    path = model_path(model)
    return f"{path.resolve().name if os.path.isdir(path) else path.stem}.json"


def split_name(cell: str) -> tuple[str, str]:
    """The file and the backend in the name of a cell."""
    file, _, backend = cell.rpartition("[")
    return file, backend.removesuffix("]")
