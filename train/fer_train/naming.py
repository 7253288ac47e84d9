"""Names that become names of files: none may lead out of its folder."""

from __future__ import annotations

import re

__all__ = ["LONGEST", "LONGEST_MODEL", "is_plain", "require_plain"]

LONGEST = 128
"""Characters; the file system's 255 leave room for what is written before and after them."""

LONGEST_MODEL = 96
"""A training is named after its model, and more."""

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def is_plain(name: str, longest: int = LONGEST) -> bool:
    """Tell whether a name is a letter or digit, followed by those, dots, hyphens or underscores."""
    return len(name) <= longest and _PLAIN.fullmatch(name) is not None


def require_plain(what: str, name: str, longest: int = LONGEST) -> None:
    """Raise ValueError for a name that is not plain; ``what`` tells what is named."""
    if not is_plain(name, longest):
        raise ValueError(
            f"{what} should be at most {longest} letters, digits, dots, hyphens and underscores, "
            f"the first a letter or digit, not {name!r:.80}"
        )
