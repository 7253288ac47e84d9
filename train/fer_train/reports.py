"""Reading the report of a training."""

from __future__ import annotations

from pathlib import Path

from fer_edge.artifacts.record import decode, parse_json
from fer_edge.errors import ArtifactError
from fer_train.assessment import SCHEMA, Report

__all__ = ["read_report"]


def read_report(path: Path) -> Report:
    """Read ``report.json``. Raises ArtifactError for anything else."""
    try:
        text = path.read_bytes()
    except OSError as problem:
        raise ArtifactError(f"there is no report at {path}: {problem}") from problem
    plain = parse_json(text, str(path))
    told = plain.get("schema") if isinstance(plain, dict) else None
    if isinstance(told, str) and told.startswith("fer-train/") and told != SCHEMA:
        raise ArtifactError(
            f"{path} is of another version ({told}, this one reads {SCHEMA}); run the fer-train "
            "command of that run again, which measures it anew"
        )
    return decode(Report, plain, str(path), ArtifactError)
