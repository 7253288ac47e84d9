"""Keeps models that OpenVINO compiled, so that the next start need not compile again.

OpenVINO's own cache loads a damaged blob without an error and then gives wrong answers (tried by
flipping a thousand bytes in its middle). Here the sha256 of each blob is stored before it.

Where nothing can be written, as on a read-only disk, every start compiles again.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from fer_edge.artifacts.record import json_digest
from fer_edge.errors import ConfigurationError
from fer_edge.system.files import write_bytes
from fer_edge.system.folders import data_folder

_DIGEST_BYTES = 32
_MOST_BLOBS = 16
_NO_PLACE = (OSError, ConfigurationError)
"""The second is raised for a user without a home folder."""


def read_blob(key: object) -> bytes | None:
    """The blob that was compiled from ``key``; None if there is none or it is damaged."""
    with suppress(*_NO_PLACE):
        stored = _path(key).read_bytes()
        digest, blob = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
        if hashlib.sha256(blob).digest() == digest:
            return blob
    return None


def write_blob(key: object, blob: bytes) -> None:
    """Keep a blob; of all blobs the last 16 are kept."""
    with suppress(*_NO_PLACE):
        path = _path(key)
        write_bytes(path, hashlib.sha256(blob).digest() + blob)
        kept = sorted(path.parent.glob("*.blob"), key=lambda file: file.stat().st_mtime_ns)
        for old in kept[:-_MOST_BLOBS]:
            old.unlink(missing_ok=True)


def _path(key: object) -> Path:
    return data_folder() / "openvino" / f"{json_digest(key)}.blob"
