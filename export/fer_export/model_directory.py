"""The model directory that an export writes: what it may replace, and what its manifest lists."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from fer_edge.artifacts.manifest import MANIFEST, ArtifactEntry, Companion, Manifest
from fer_edge.errors import ArtifactError, ConfigurationError
from fer_edge.system.files import sha256_of

REPORT, REPORT_FOLDER = "report.md", "report"
"""What a model directory holds beside the files that its manifest lists."""


def artifact_entry(
    folder: Path,
    file: str,
    target: str,
    precision: str,
    *,
    backends: tuple[str, ...] = (),
    companions: tuple[str, ...] = (),
) -> ArtifactEntry:
    """The manifest's entry for a file in ``folder`` and the ``companions`` that belong to it."""
    own, *others = (
        Companion(name, sha256_of(folder / name), (folder / name).stat().st_size)
        for name in (file, *companions)
    )
    return ArtifactEntry(
        file, own.sha256, own.size_bytes, target, precision, tuple(others), backends
    )


def check_replaceable(out: Path, force: bool, read: Iterable[Path] = ()) -> None:
    """Raise ConfigurationError if ``out`` holds anything that must not be replaced.

    ``force`` allows replacing a model directory and nothing else, and none of the files that are
    ``read`` for the export may be in it. The current folder is never
    replaced: the caller would be left in a folder that no longer exists.
    """
    if Path.cwd().is_relative_to(out.resolve()):
        raise ConfigurationError(
            f"--out {out} is the current folder or one above it, and an export would replace it; "
            "name a folder inside it, or run this from elsewhere"
        )
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not out.is_dir():
        raise ConfigurationError(f"{out} is a file; give another --out")
    if not force:
        raise ConfigurationError(f"{out} exists; give --force to replace it, or another --out")
    for path in read:
        if path.resolve().is_relative_to(out.resolve()):
            raise ConfigurationError(
                f"{path} is read for this export, and --force would replace it with the folder "
                "that it is in; give another --out"
            )
    if unknown := {path.name for path in out.iterdir()} - _known(out):
        raise ConfigurationError(
            f"{out} holds {min(unknown)}, which no export wrote, so it is not replaced; "
            "remove it yourself, or give another --out"
        )


def keep_report(folder: Path, out: Path) -> Path | None:
    """Move the report of a failed export from ``folder`` to a place beside ``out``.

    Files of an earlier failed export are overwritten. Returns the new place, or None if there is
    no report.
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
    """The names that an export put into a model directory; empty for any other folder."""
    try:
        entries = Manifest.read(out).artifacts
    except ArtifactError:
        return set()
    files = [entry.file for entry in entries]
    files += [file.file for entry in entries for file in entry.companions]
    return {MANIFEST, REPORT, REPORT_FOLDER, *(PurePosixPath(file).parts[0] for file in files)}
