"""A file that an export made, and its line in the manifest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fer_edge.artifacts.manifest import ArtifactEntry, Companion, Measurement
from fer_edge.system.files import sha256_of

__all__ = ["Built"]


@dataclass(frozen=True)
class Built:
    """A file of the model directory, and the ``companions`` that belong to it.

    ``backends`` are those that it was made for, none for all that open it. ``proved_by`` are those
    that compare it with the reference, if they are others.
    """

    file: str
    target: str
    precision: str
    backends: tuple[str, ...] = ()
    companions: tuple[str, ...] = ()
    proved_by: tuple[str, ...] = ()

    def entry(self, folder: Path, measured: tuple[Measurement, ...] = ()) -> ArtifactEntry:
        """Describe the file, which lies in ``folder``, for the manifest."""

        def described(name: str) -> Companion:
            return Companion(name, sha256_of(folder / name), (folder / name).stat().st_size)

        own = described(self.file)
        return ArtifactEntry(
            file=own.file,
            sha256=own.sha256,
            size_bytes=own.size_bytes,
            target=self.target,
            precision=self.precision,
            companions=tuple(map(described, self.companions)),
            backends=self.backends,
            measured=measured,
        )
