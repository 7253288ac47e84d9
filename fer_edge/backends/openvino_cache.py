"""Keeps models that OpenVINO compiled, so that the next start need not compile again.

OpenVINO's own cache loads a damaged blob without an error and then gives wrong answers (tried by
flipping a thousand bytes in its middle). Here the sha256 of each blob is stored before it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from fer_edge.errors import ConfigurationError
from fer_edge.system.files import write_bytes
from fer_edge.system.folders import data_folder

__all__ = ["BlobCache"]

_FOLDER = "openvino"
_SUFFIX = ".blob"
_DIGEST_BYTES = 32
_MOST_BLOBS = 16


class BlobCache:
    """Blobs in the user's data folder, by what they were compiled from; the last 16 are kept.

    Where nothing can be written, as on a read-only disk, every start compiles again.
    """

    def __init__(self) -> None:
        try:
            self._folder: Path | None = data_folder() / _FOLDER
        except ConfigurationError:  # a user without a home folder
            self._folder = None

    def read(self, key: object) -> bytes | None:
        """Return a blob, or None if there is none or it is damaged."""
        path = self._path(key)
        if path is None:
            return None
        try:
            stored = path.read_bytes()
        except OSError:
            return None
        digest, blob = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
        return blob if hashlib.sha256(blob).digest() == digest else None

    def write(self, key: object, blob: bytes) -> None:
        """Keep a blob, and remove the oldest of too many."""
        path = self._path(key)
        if path is None:
            return
        try:
            write_bytes(path, hashlib.sha256(blob).digest() + blob)
            kept = sorted(path.parent.glob(f"*{_SUFFIX}"), key=lambda file: file.stat().st_mtime_ns)
            for old in kept[:-_MOST_BLOBS]:
                old.unlink(missing_ok=True)
        except OSError:  # nothing can be written, or another process removed a file
            return

    def _path(self, key: object) -> Path | None:
        name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return None if self._folder is None else self._folder / f"{name}{_SUFFIX}"
