"""What an export may replace: a model directory, and nothing that somebody else put there."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from fer_edge.errors import ArtifactError, ConfigurationError
from fer_edge.manifest import MANIFEST, Manifest

__all__ = ["REPORT", "REPORT_FOLDER", "check_replaceable"]

REPORT, REPORT_FOLDER = "report.md", "report"
"""What stands in a model directory beside what its manifest lists."""


def check_replaceable(out: Path, force: bool) -> None:
    """Raise ConfigurationError if ``out`` holds what ``force`` does not, or may not, replace."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not out.is_dir():
        raise ConfigurationError(f"{out} is a file; give another --out")
    if not force:
        raise ConfigurationError(f"{out} exists; give --force to replace it, or another --out")
    if unknown := {path.name for path in out.iterdir()} - _known(out):
        raise ConfigurationError(
            f"{out} holds {min(unknown)}, which no export wrote, so it is not replaced; "
            "remove it yourself, or give another --out"
        )


def _known(out: Path) -> set[str]:
    """Names in a model directory that an export put there; none if it is no model directory."""
    try:
        entries = Manifest.read(out).artifacts
    except ArtifactError:
        return set()
    files = [entry.file for entry in entries]
    files += [file.file for entry in entries for file in entry.companions]
    return {MANIFEST, REPORT, REPORT_FOLDER, *(PurePosixPath(file).parts[0] for file in files)}
