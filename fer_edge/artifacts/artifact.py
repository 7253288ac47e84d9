"""From what a caller names to the one artifact that a backend opens."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fer_edge.artifacts.manifest import MANIFEST, ArtifactEntry, Manifest
from fer_edge.artifacts.spec import PRECISIONS, ModelSpec
from fer_edge.errors import ArtifactError, ConfigurationError
from fer_edge.system.files import open_without_waiting

__all__ = [
    "COMPANIONS",
    "DEFAULT_MODEL",
    "FORMATS",
    "MAX_BYTES",
    "Artifact",
    "check_model",
    "find_artifact",
    "fitting_entry",
    "model_path",
    "read_entry",
]

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

COMPANIONS = {"openvino": (".bin",), "tensorrt": (".plan.json",)}
"""Suffixes of the files that belong to an artifact of a format and lie beside it."""

MAX_BYTES = 2 << 30
"""Size of a file that is still read; ONNX has the same bound."""

_MODELS = Path(__file__).parents[1] / "models"


@dataclass(frozen=True)
class Artifact:
    """A file that a backend can open, and its bytes' sha256.

    ``vouched`` says that a manifest listed that hash. ``companions`` holds the bytes of the files
    that belong to it, by name: the weights of an IR, the sidecar of a plan. ``spec`` is the
    caller's, for an artifact that carries none.
    """

    path: Path
    format: str
    data: bytes
    sha256: str
    vouched: bool
    companions: Mapping[str, bytes] = field(default_factory=dict)
    spec: ModelSpec | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes of the file and of its companions."""
        return len(self.data) + sum(len(data) for data in self.companions.values())

    def __repr__(self) -> str:
        return f"Artifact({self.path}, {self.format}, sha256={self.sha256[:12]}…)"


def model_path(model: str | os.PathLike[str]) -> Path:
    """Where a model lies: the packaged one for the word ``default``, else the path itself.

    Raises ConfigurationError for what is no path.
    """
    if not isinstance(model, (str, os.PathLike)):
        raise ConfigurationError(
            f"a model is {DEFAULT_MODEL!r} or a path, not {type(model).__name__}"
        )
    return _MODELS / DEFAULT_MODEL if model == DEFAULT_MODEL else Path(model)


def check_model(model: str | os.PathLike[str]) -> None:
    """Raise ArtifactError where nothing lies."""
    path = model_path(model)
    if not os.path.exists(path):  # Path.exists raises where it may not look
        if model == DEFAULT_MODEL:
            raise ArtifactError("the packaged model is missing; reinstall fer-edge")
        raise ArtifactError(
            f"there is no model at {path}, or none that you may see; give {DEFAULT_MODEL!r}, a "
            "model directory or an artifact"
        )


def find_artifact(
    model: str | os.PathLike[str],
    *,
    backend: str,
    formats: tuple[str, ...],
    precision: str | None = None,
    spec: ModelSpec | None = None,
) -> Artifact:
    """Choose and check an artifact for ``backend``.

    ``model`` is ``default``, a model directory or an artifact; ``formats`` lists what the backend
    opens, the preferred first; ``precision`` chooses within a directory, by default the one that
    its manifest names. Among several, one made for this backend goes before one for all. ``spec``
    is for an artifact that carries none. Raises ArtifactError for what is missing or damaged, and
    ConfigurationError for a precision or format that is not there.
    """
    if precision is not None and precision not in PRECISIONS:
        raise ConfigurationError(
            f"unknown precision {precision!r}; there are {', '.join(PRECISIONS)}"
        )
    path = model_path(model)
    if os.path.isdir(path):  # Path.is_dir raises where it may not look
        manifest = Manifest.read(path)
        entry = _choose(manifest, path, backend, formats, precision or manifest.precision)
        return read_entry(path, entry, spec)
    check_model(model)
    if FORMATS.get(path.suffix) not in formats:
        raise ConfigurationError(
            f"{path} is not a file that this backend opens; it takes {', '.join(formats)}"
        )
    return _read_file(path, spec)


def fitting_entry(
    manifest: Manifest, *, backend: str, formats: tuple[str, ...], precision: str
) -> ArtifactEntry | None:
    """The artifact that ``find_artifact`` would choose from a manifest, or None."""
    fitting = [
        entry
        for form in formats
        for entry in manifest.artifacts
        if entry.precision == precision
        and FORMATS.get(Path(entry.file).suffix) == form
        and (not entry.backends or backend in entry.backends)
    ]
    # the first of equals
    return max(fitting, key=lambda entry: backend in entry.backends, default=None)


def read_entry(folder: Path, entry: ArtifactEntry, spec: ModelSpec | None = None) -> Artifact:
    """Read an artifact that the manifest in ``folder`` lists, with its companions.

    ``spec`` is for an artifact that carries none. Raises ArtifactError for a file that is missing,
    that is a link, a device or a pipe, or that is not the one that the manifest vouches for.
    """
    return Artifact(
        path=folder / entry.file,
        format=FORMATS[Path(entry.file).suffix],
        data=_vouched(folder, entry.file, entry.sha256),
        sha256=entry.sha256,
        vouched=True,
        companions={
            Path(one.file).name: _vouched(folder, one.file, one.sha256) for one in entry.companions
        },
        spec=spec,
    )


def _choose(
    manifest: Manifest, path: Path, backend: str, formats: tuple[str, ...], precision: str
) -> ArtifactEntry:
    entry = fitting_entry(manifest, backend=backend, formats=formats, precision=precision)
    if entry is None:
        have = ", ".join(f"{entry.target} ({entry.precision})" for entry in manifest.artifacts)
        raise ConfigurationError(
            f"{path} has no {precision} artifact in the format {' or '.join(formats)} for "
            f"{backend}; it has {have}"
        )
    return entry


def _read_file(path: Path, spec: ModelSpec | None) -> Artifact:
    form = FORMATS[path.suffix]
    beside = [path.with_suffix(suffix) for suffix in COMPANIONS.get(form, ())]
    companions = {file.name: _bytes(file) for file in beside if os.path.exists(file)}
    data = _bytes(path)
    digest = hashlib.sha256(data).hexdigest()
    return Artifact(path, form, data, digest, vouched=False, companions=companions, spec=spec)


def _bytes(path: Path) -> bytes:
    try:
        with open(path, "rb", opener=open_without_waiting) as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ArtifactError(f"{path} is a device, pipe or socket; an artifact is a file")
            if status.st_size > MAX_BYTES:
                raise ArtifactError(
                    f"{path} has {status.st_size:,} bytes; artifacts have up to {MAX_BYTES:,}"
                )
            return stream.read(status.st_size)
    except OSError as problem:
        raise ArtifactError(f"cannot read the artifact {path}: {problem.strerror}") from problem


def _vouched(folder: Path, file: str, expected: str) -> bytes:
    """Read a file of which the manifest in ``folder`` gives the hash."""
    path = folder / file
    # Path.resolve raises what it likes for a link that leads to itself
    if os.path.realpath(path) != os.path.join(os.path.realpath(folder), file):
        raise ArtifactError(f"{path} is a link; {MANIFEST} vouches for files of its own folder")
    data = _bytes(path)
    digest = hashlib.sha256(data).hexdigest()
    if digest != expected:
        raise ArtifactError(
            f"{path} is damaged: its sha256 is {digest[:12]}…, {MANIFEST} says "
            f"{expected[:12]}…; copy or export the model again"
        )
    return data
