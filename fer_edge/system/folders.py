"""Where fer_edge keeps what it measured, compiled and trusts for a user."""

from __future__ import annotations

import os
from pathlib import Path

from fer_edge.errors import ConfigurationError

HOME_VARIABLE = "FER_EDGE_HOME"


def data_folder() -> Path:
    """Return the user's data folder; it need not exist yet.

    ``FER_EDGE_HOME`` if set, else ``fer_edge`` in ``XDG_DATA_HOME`` (XDG Base Directory
    Specification), else ``~/.local/share/fer_edge``. Raises ConfigurationError if the user has
    no home folder.
    """
    try:
        if chosen := os.environ.get(HOME_VARIABLE):
            return Path(chosen).expanduser().absolute()
        shared = Path(os.environ.get("XDG_DATA_HOME", ""))
        # the specification: a relative path is invalid and is ignored
        root = shared if shared.is_absolute() else Path.home() / ".local" / "share"
    except RuntimeError as problem:
        raise ConfigurationError(
            f"this user has no home folder ({problem}). Set {HOME_VARIABLE} to a folder for "
            "fer_edge's data"
        ) from problem
    return root / "fer_edge"
