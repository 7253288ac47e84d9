"""How much a zip may unpack to, checked before anything of it is unpacked."""

from __future__ import annotations

import zipfile

_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}


def require_bounded(archive: zipfile.ZipFile, most: int) -> None:
    """Refuse an archive whose members together would unpack to more than ``most`` bytes.

    The sizes are those in the archive's directory; ``zipfile`` reads no member beyond them. Raises
    ValueError for a larger archive, and as ``require_plain_methods`` does.
    """
    require_plain_methods(archive)
    if sum(member.file_size for member in archive.infolist()) > most:
        raise ValueError(f"it unpacks to more than {most:,} bytes")


def require_plain_methods(archive: zipfile.ZipFile) -> None:
    """Refuse members that are neither stored nor deflated. Raises ValueError.

    With other methods ``zipfile`` expands 4096 compressed bytes at once, before it looks at the
    size; with bzip2 that can be gigabytes.
    """
    for member in archive.infolist():
        if member.compress_type not in _METHODS:
            raise ValueError(
                f"{member.filename[:80]!r} is neither stored nor deflated; pack it again, deflated"
            )
