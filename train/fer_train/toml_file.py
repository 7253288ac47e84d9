"""Reading TOML: recipes and plans."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from fer_edge.errors import ConfigurationError
from fer_edge.system.dependencies import requires

__all__ = ["read_toml"]


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """Read a TOML file; ``what`` says what it should be, as in "the recipe".

    Raises ConfigurationError for a file that cannot be read, and MissingDependencyError on Python
    3.10 without the ``train`` extra, which brings a TOML reader there.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        with requires("train"):
            import tomli as tomllib
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as problem:  # an endless number is a ValueError
        raise ConfigurationError(f"cannot read {what} {path}: {problem}") from problem
