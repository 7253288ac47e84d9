"""Reading a file that somebody gave us: whole, within a bound, and without waiting for anyone."""

from __future__ import annotations

import os
import re
import stat

from fer_edge.errors import FerEdgeError

GIT_LFS_START = b"version https://git-lfs.github.com/spec/"
GIT_LFS_ADVICE = "is a Git LFS pointer, not the file itself; fetch the file with: git lfs pull"
_WEB_PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype\s+)?html\b", re.IGNORECASE)
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+|data:")
"""A path has one of the two slashes left; a drive has a single letter."""


def read_file(
    path: str | os.PathLike[str], what: str, most: int, error: type[FerEdgeError]
) -> bytes:
    """Read all bytes of a regular file; links are followed.

    ``what`` names the kind of file in messages, such as ``"picture"``. Raises ``error`` where there
    is no such file, for one that this user may not read, for a folder, pipe, socket or device
    (none of them is read, and a pipe without a writer does not block), for more than ``most``
    bytes, for an address, and for what may stand in the file's place: nothing, a web page, or a Git
    LFS pointer.
    """
    where = os.fspath(path)
    try:
        _check(os.stat(where), where, what, most, error)
        with open(where, "rb", opener=_open_without_waiting) as stream:
            # the name may lead to another file by now
            status = os.fstat(stream.fileno())
            _check(status, where, what, most, error)
            data = stream.read(status.st_size)
    except FileNotFoundError as problem:
        if address := as_address(where):
            raise error(
                f"{address:.300} is an address; download the {what} and give its path"
            ) from problem
        raise error(f"there is no {what} at {where!r:.300}; check the path") from problem
    except PermissionError as problem:
        raise error(
            f"this user may not read {where!r}; change its permissions or those of its folder"
        ) from problem
    except (OSError, ValueError) as problem:
        raise error(f"cannot read the {what} {where!r:.300}: {reason_of(problem)}") from problem
    if advice := _not_the_file(data):
        raise error(f"{where} {advice}")
    return data


def reason_of(problem: Exception) -> str:
    """What went wrong, without the path, which stands in the message already."""
    return getattr(problem, "strerror", None) or str(problem)


def as_address(path: str | os.PathLike[str]) -> str | None:
    """The address that was given in place of a path, if it is one and nothing is there."""
    where = os.fspath(path)
    if not _ADDRESS.match(where) or os.path.lexists(where):
        return None
    return _ADDRESS.sub(lambda found: f"{found[1]}://" if found[1] else found[0], where, count=1)


def git_lfs_advice(start: bytes) -> str | None:
    """What to do about a file that begins with ``start``, if it is a Git LFS pointer."""
    return GIT_LFS_ADVICE if start.startswith(GIT_LFS_START) else None


def refuse_git_lfs(path: str | os.PathLike[str], error: type[FerEdgeError]) -> None:
    """Raise ``error`` for a Git LFS pointer, before or after another library reads the file.

    What cannot be read is that library's to tell.
    """
    try:
        with open(path, "rb") as stream:
            start = stream.read(len(GIT_LFS_START))
    except OSError:
        return
    if advice := git_lfs_advice(start):
        raise error(f"{os.fspath(path)} {advice}")


def _not_the_file(data: bytes) -> str | None:
    """What to do about what stands in a file's place."""
    if not data:
        return "has 0 bytes; copy or download the file again"
    if _WEB_PAGE.match(data):
        return "is a web page, not the file itself; download the file by its direct link"
    return git_lfs_advice(data)


def _check(
    status: os.stat_result, where: str, what: str, most: int, error: type[FerEdgeError]
) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise error(f"{where} is a folder; give one {what} file")
    if not stat.S_ISREG(status.st_mode):
        raise error(f"{where} is a device, pipe or socket; give a {what} in a regular file")
    if status.st_size > most:
        raise error(
            f"{where} has {status.st_size:,} bytes; the most is {most:,}. Give a smaller {what}"
        )


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
