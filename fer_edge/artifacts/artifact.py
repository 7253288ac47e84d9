"""Artifacts: the files that backends open, read and checked."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fer_edge.artifacts.manifest import MANIFEST, ArtifactEntry
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.errors import ArtifactError
from fer_edge.system.read_file import read_file

FORMATS = {
    ".onnx": "onnx",
    ".xml": "openvino",
    ".plan": "tensorrt",
    ".engine": "tensorrt",
    ".safetensors": "torch",
}
"""Formats by suffix, in lower case."""

OPENED_BY: dict[str, tuple[str, ...]] = {
    "onnxruntime": ("onnx",),
    "openvino": ("openvino", "onnx"),
    "tensorrt": ("tensorrt",),
    "torch": ("torch",),
}
"""The formats that each backend opens, its own first."""

COMPANIONS = {"openvino": (".bin",), "tensorrt": (".plan.json",)}
"""Suffixes of the files that belong to an artifact of a format and stand beside it."""

MAX_BYTES = 2 << 30
"""The largest file that is read; ONNX has the same limit."""


@dataclass(frozen=True)
class Artifact:
    """A file that a backend can open, and the sha256 of its bytes.

    ``companions`` holds the bytes of the files that belong to it, by name: the weights of an IR,
    the sidecar of a plan. ``spec`` is the caller's, for an artifact that carries none.
    """

    path: Path
    format: str
    data: bytes
    sha256: str
    companions: Mapping[str, bytes] = field(default_factory=dict)
    spec: ModelSpec | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes of the file and of its companions."""
        return len(self.data) + sum(len(data) for data in self.companions.values())

    def __repr__(self) -> str:
        return f"Artifact({self.path}, {self.format}, sha256={self.sha256[:12]}…)"


def format_of(file: str | os.PathLike[str]) -> str | None:
    """The format that a file's suffix stands for, in any case of letters; None for another."""
    return FORMATS.get(Path(file).suffix.lower())


def backends_for(file: str | os.PathLike[str], made_for: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The backends that open a file, installed or not; ``made_for``, if not empty, limits them."""
    form = format_of(file)
    return tuple(
        name
        for name, formats in OPENED_BY.items()
        if form in formats and (not made_for or name in made_for)
    )


def read_artifact(path: Path, spec: ModelSpec | None = None) -> Artifact:
    """Read one artifact, with the companions that stand beside it.

    ``spec`` is for an artifact that carries none. Raises ArtifactError for a file that cannot be
    read.
    """
    form = FORMATS[path.suffix.lower()]
    companions = {
        path.with_suffix(suffix).name: _read(file)
        for suffix in COMPANIONS.get(form, ())
        for file in map(path.with_suffix, (suffix.upper(), suffix))  # of both the usual one
        if os.path.exists(file)
    }
    data = _read(path)
    return Artifact(path, form, data, hashlib.sha256(data).hexdigest(), companions, spec)


def read_entry(folder: Path, entry: ArtifactEntry, spec: ModelSpec | None = None) -> Artifact:
    """Read an artifact that the manifest in ``folder`` lists, with its companions.

    ``spec`` is for an artifact that carries none. Raises ArtifactError for a file that cannot be
    read or whose hash is not the manifest's.
    """
    companions = {
        Path(one.file).name: _read_listed(folder, one.file, one.sha256) for one in entry.companions
    }
    return Artifact(
        path=folder / entry.file,
        format=FORMATS[Path(entry.file).suffix.lower()],
        data=_read_listed(folder, entry.file, entry.sha256),
        sha256=entry.sha256,
        companions=companions,
        spec=spec,
    )


def _read(path: Path) -> bytes:
    return read_file(path, "artifact", MAX_BYTES, ArtifactError)


def _read_listed(folder: Path, file: str, expected: str) -> bytes:
    """Read a file whose hash the manifest in ``folder`` gives.

    It may be a link, as in a download cache or a mounted ConfigMap: the hash decides. Line ends
    that git changed in an IR are changed back.
    """
    path = folder / file
    data = _read(path)
    digest = hashlib.sha256(data).hexdigest()
    if digest != expected:
        as_written = data.replace(b"\r\n", b"\n")
        if hashlib.sha256(as_written).hexdigest() == expected:
            return as_written
        raise ArtifactError(
            f"{path} is damaged: its sha256 is {digest[:12]}…, {MANIFEST} says "
            f"{expected[:12]}…; copy or export the model again"
        )
    return data
