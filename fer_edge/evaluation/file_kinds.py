"""What a file that is no data set is, and what to do with it."""

from __future__ import annotations

import shlex
from pathlib import Path

from fer_edge.evaluation.picture_files import open_file
from fer_edge.system.read_file import GIT_LFS_ADVICE, GIT_LFS_START

__all__ = ["what_it_is"]

_STARTS = (
    (b"\x1f\x8b", "it is packed with gzip; unpack it (tar xf {path}) and give the folder"),
    (b"BZh", "it is packed with bzip2; unpack it (tar xf {path}) and give the folder"),
    (b"\xfd7zXZ", "it is packed with xz; unpack it (tar xf {path}) and give the folder"),
    (b"7z\xbc\xaf", "it is a 7z archive; unpack it (7z x {path}) and give the folder"),
    (b"Rar!", "it is a RAR archive; unpack it (unrar x {path}) and give the folder"),
    (b"PK", "it is a damaged zip; download it again"),
    (GIT_LFS_START, f"it {GIT_LFS_ADVICE}"),
    (b"\x89HDF", "it is HDF5; write its pictures into train/<class>/ and test/<class>/"),
    (b"PAR1", "it is Parquet; write its pictures into train/<class>/ and test/<class>/"),
    (b"\x93NUMPY", "it is a numpy array; write its pictures into train/<class>/"),
    (b"\x80", "it is a pickle, which could run code; write its pictures into train/<class>/"),
    (b"<", "it is a web page; download the data set itself"),
)
_PACKED_ALONE = {".gz": "gunzip", ".bz2": "bunzip2", ".xz": "unxz"}
_TAR_AT, _TAR = 257, b"ustar"
_SHOWN = 16


def what_it_is(path: Path) -> str:
    """Tell in one sentence what the file is by its first bytes, and the next step."""
    with open_file(path) as stream:
        start = stream.read(512)
    quoted = shlex.quote(str(path))
    if not start:
        return "it is empty; download it again"
    if start[_TAR_AT:].startswith(_TAR):
        return f"it is a tar archive; unpack it (tar xf {quoted}) and give the folder"
    if _PACKED_ALONE.get(path.suffix.lower()) and ".tar" not in path.suffixes:
        tool = _PACKED_ALONE[path.suffix.lower()]
        return f"it is one packed file; unpack it ({tool} {quoted}) and give {path.with_suffix('')}"
    for mark, told in _STARTS:
        if start.startswith(mark):
            return told.format(path=quoted)
    if b"emotion" in start.partition(b"\n")[0].lower():
        return f"it looks like a CSV file without its suffix; rename it: mv {quoted} {quoted}.csv"
    return f"it begins with {start[:_SHOWN]!r}"
