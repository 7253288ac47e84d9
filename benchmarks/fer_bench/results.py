"""Results of fer-bench as JSON files, told apart by their schema."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

from fer_edge.artifacts.record import decode, parse_json
from fer_edge.errors import ArtifactError, ConfigurationError
from fer_edge.system.read_file import read_file

_MAX_BYTES = 256 << 20


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What one command of fer-bench measured. Each kind gives ``schema`` a value of its own."""

    schema: str


R = TypeVar("R", bound=RunResult)


def read_result(path: Path, *kinds: type[R]) -> R:
    """Read a result of one of these kinds.

    Raises ConfigurationError for a file that is missing, damaged or of another schema.
    """
    text = read_file(path, "result", _MAX_BYTES, ConfigurationError)
    try:
        value = parse_json(text, str(path))
    except ArtifactError as problem:
        raise ConfigurationError(str(problem)) from problem
    if not isinstance(value, dict) or not isinstance(value.get("schema"), str):
        raise ConfigurationError(f"{path} is not a result of fer-bench: it has no schema")
    known = {
        field.default: kind for kind in kinds for field in fields(kind) if field.name == "schema"
    }
    if (found := value["schema"]) not in known:
        raise ConfigurationError(
            f"{path} has the schema {found!r}, expected {' or '.join(map(repr, known))}; measure "
            "again with this version of fer-bench"
        )
    return decode(known[found], value, str(path), ConfigurationError)
