"""Results of fer-bench as JSON files, told apart by their schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

from fer_edge.artifacts.record import decode, parse_json
from fer_edge.errors import ArtifactError, ConfigurationError, GateError
from fer_edge.system.read_file import read_file

_MAX_BYTES = 256 << 20


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What one command of fer-bench measured. Each kind gives ``schema`` a value of its own."""

    schema: str


def exit_code_of(failures: Sequence[int], *, measured: bool) -> int:
    """The exit code of a run from those of its failures; ``measured`` is whether it has figures.

    A run that is incomplete has failed a check. One without figures ends as its failures would
    alone, where they agree.
    """
    codes = set(failures)
    if measured or len(codes) != 1:
        return GateError.exit_code if codes else 0
    return codes.pop()


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
