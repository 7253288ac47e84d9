"""From what a caller names to the one artifact that a backend opens."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from fer_edge.errors import ArtifactError, ConfigurationError
from fer_edge.manifest import MANIFEST, ArtifactEntry, Manifest
from fer_edge.spec import PRECISIONS

__all__ = ["DEFAULT_MODEL", "FORMATS", "Artifact", "find_artifact", "model_path"]

DEFAULT_MODEL = "default"
"""The word that stands for the packaged model."""

FORMATS = {
    ".onnx": "onnx",
    ".xml": "openvino",
    ".plan": "tensorrt",
    ".engine": "tensorrt",
    ".safetensors": "torch",
}
"""Formats by suffix."""

_MODELS = Path(__file__).parent / "models"


@dataclass(frozen=True)
class Artifact:
    """A file that a backend can open, and its bytes' sha256.

    ``vouched`` says that a manifest listed that hash.
    """

    path: Path
    format: str
    data: bytes
    sha256: str
    vouched: bool

    def __repr__(self) -> str:
        return f"Artifact({self.path}, {self.format}, sha256={self.sha256[:12]}…)"


def model_path(model: str | os.PathLike[str]) -> Path:
    """Where a model lies: the packaged one for the word ``default``, else the path itself."""
    return _MODELS / DEFAULT_MODEL if model == DEFAULT_MODEL else Path(model)


def find_artifact(
    model: str | os.PathLike[str], *, formats: tuple[str, ...], precision: str | None = None
) -> Artifact:
    """Choose and check an artifact.

    ``model`` is ``default``, a model directory or an artifact; ``formats`` lists what the backend
    opens, the preferred first; ``precision`` chooses within a directory, by default the one that
    its manifest names. Raises ArtifactError for what is missing or damaged, and
    ConfigurationError for a precision or format that is not there.
    """
    if precision is not None and precision not in PRECISIONS:
        raise ConfigurationError(
            f"unknown precision {precision!r}; there are {', '.join(PRECISIONS)}"
        )
    path = model_path(model)
    if path.is_dir():
        manifest = Manifest.read(path)
        entry = _choose(manifest, path, formats, precision or manifest.precision)
        return _read(path / entry.file, entry)
    if not path.exists():
        if model == DEFAULT_MODEL:
            raise ArtifactError("the packaged model is missing; reinstall fer-edge")
        raise ArtifactError(
            f"there is no model at {path}; give {DEFAULT_MODEL!r}, a model directory or an artifact"
        )
    if FORMATS.get(path.suffix) not in formats:
        raise ConfigurationError(
            f"{path} is not a file that this backend opens; it takes {', '.join(formats)}"
        )
    return _read(path, None)


def _choose(
    manifest: Manifest, path: Path, formats: tuple[str, ...], precision: str
) -> ArtifactEntry:
    fitting = [
        entry
        for form in formats
        for entry in manifest.artifacts
        if entry.precision == precision and FORMATS.get(Path(entry.file).suffix) == form
    ]
    if not fitting:
        have = ", ".join(f"{entry.target} ({entry.precision})" for entry in manifest.artifacts)
        raise ConfigurationError(
            f"{path} has no {precision} artifact in the format {' or '.join(formats)}; "
            f"it has {have}"
        )
    return fitting[0]


def _read(path: Path, entry: ArtifactEntry | None) -> Artifact:
    if entry is not None and path.is_symlink():
        raise ArtifactError(f"{path} is a link; {MANIFEST} vouches for files of its own folder")
    try:
        data = path.read_bytes()
    except OSError as problem:
        raise ArtifactError(f"cannot read the artifact {path}: {problem.strerror}") from problem
    digest = hashlib.sha256(data).hexdigest()
    if entry is not None and digest != entry.sha256:
        raise ArtifactError(
            f"{path} is damaged: its sha256 is {digest[:12]}…, {MANIFEST} says "
            f"{entry.sha256[:12]}…; copy or export the model again"
        )
    return Artifact(path, FORMATS[path.suffix], data, digest, entry is not None)
