"""What a zip may unpack to, before anything of it is unpacked."""

from __future__ import annotations

import zipfile

__all__ = ["require_bounded", "require_plain_methods"]

_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}


def require_bounded(archive: zipfile.ZipFile, most: int) -> None:
    """Refuse an archive whose members together are larger than ``most`` bytes, by its directory.

    Raises ValueError for that, and as ``require_plain_methods`` does. ``zipfile`` reads no member
    beyond the size that the directory tells.
    """
    require_plain_methods(archive)
    if sum(member.file_size for member in archive.infolist()) > most:
        raise ValueError(f"it unpacks to more than {most:,} bytes")


def require_plain_methods(archive: zipfile.ZipFile) -> None:
    """Refuse members that are neither stored nor deflated. Raises ValueError.

    Of the others ``zipfile`` unpacks whatever 4096 bytes hold at once, which of bzip2 is
    gigabytes, and looks at the size only then.
    """
    for member in archive.infolist():
        if member.compress_type not in _METHODS:
            raise ValueError(
                f"{member.filename[:80]!r} is neither stored nor deflated; pack it again, deflated"
            )
