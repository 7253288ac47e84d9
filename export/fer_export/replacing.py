"""What an export may replace: a model directory, and nothing that somebody else put there."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from fer_edge.artifacts.manifest import MANIFEST, Manifest
from fer_edge.errors import ArtifactError, ConfigurationError

__all__ = ["REPORT", "REPORT_FOLDER", "check_replaceable", "keep_report"]

REPORT, REPORT_FOLDER = "report.md", "report"
"""What stands in a model directory beside what its manifest lists."""


def check_replaceable(out: Path, force: bool) -> None:
    """Raise ConfigurationError if ``out`` holds what ``force`` does not, or may not, replace.

    The folder that the caller is in is never replaced: there would be another one in its place,
    and the caller in none.
    """
    if Path.cwd().is_relative_to(out.resolve()):
        raise ConfigurationError(
            f"--out {out} is the folder that this runs in, or holds it, and an export puts a new "
            "one in its place; name a folder inside it, or run this from elsewhere"
        )
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


def keep_report(folder: Path, out: Path) -> Path | None:
    """Move the report of an export that failed in ``folder`` beside ``out``; returns where it is.

    What an earlier failure left there is replaced, file by file. None where there is no report.
    """
    written = folder / REPORT_FOLDER
    if not written.is_dir():
        return None
    kept = out.resolve().with_name(f"{out.resolve().name}.failed-report")
    kept.mkdir(exist_ok=True)
    for file in written.iterdir():
        file.replace(kept / file.name)
    return kept


def _known(out: Path) -> set[str]:
    """Names in a model directory that an export put there; none if it is no model directory."""
    try:
        entries = Manifest.read(out).artifacts
    except ArtifactError:
        return set()
    files = [entry.file for entry in entries]
    files += [file.file for entry in entries for file in entry.companions]
    return {MANIFEST, REPORT, REPORT_FOLDER, *(PurePosixPath(file).parts[0] for file in files)}
