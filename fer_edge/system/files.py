"""Writing files whole: a reader sees the old file or the new one, never half of it."""

from __future__ import annotations

import ctypes
import errno
import glob
import hashlib
import json
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # on Windows, where folders are not locked
    fcntl = None  # type: ignore[assignment]

_CHUNK = 1 << 20
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Give a temporary path beside ``target``; rename it over ``target`` when the block ends.

    Missing parent folders are made. If ``target`` is a link, the file that it points to is
    replaced. The data is flushed to the disk before the rename. If the block raises, the temporary
    file is removed and ``target`` stays as it was. Raises OSError, before the block runs, if
    ``target`` is a folder, a device or a pipe, or if its folder cannot be written to.
    """
    target = target.resolve()
    if target.exists() and not target.is_file():
        kind = errno.EISDIR if target.is_dir() else errno.EINVAL
        raise OSError(kind, os.strerror(kind), str(target))
    temporary = _temporary(target, Path.touch)
    mode = temporary.stat().st_mode
    try:
        yield temporary
        # safetensors replaces the file by one that only its owner may read
        temporary.chmod(mode)
        _flush(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def errors_naming(target: Path | None) -> Iterator[None]:
    """Add ``target`` to an OSError of the block that names no file, such as one of a full disk."""
    try:
        yield
    except OSError as problem:
        if problem.filename is not None or target is None:
            raise
        raise OSError(problem.errno, problem.strerror, str(target)) from problem


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``target``; put it in place when the block ends.

    Missing parent folders are made. An existing ``target`` is replaced with all its contents, on
    Linux in one step, elsewhere by two renames. If it is a link, the folder that it points to is
    replaced. If the block raises, the temporary folder is removed and ``target`` stays as it was.
    If the process is killed, the next call for the same ``target`` removes what it left. Raises
    OSError, before the block runs, if ``target`` is not a folder or its parent cannot be written.
    """
    target = target.resolve()
    if target.exists() and not target.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(target))
    _remove_leftovers(target)
    temporary = _temporary(target, Path.mkdir)
    lock = _lock(temporary)
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                _flush(file)
        if target.exists():
            _exchange(temporary, target)
        else:
            temporary.replace(target)
    except OSError as problem:
        # the caller knows the folder by its own name alone
        if problem.filename and temporary in Path(problem.filename).parents:
            problem.filename = str(target / Path(problem.filename).relative_to(temporary))
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def write_bytes(target: Path, data: bytes) -> None:
    """Replace ``target`` by ``data``, whole or not at all; a device or pipe is written to."""
    if is_device(target):
        target.write_bytes(data)
        return
    with atomic_path(target) as temporary, errors_naming(target):
        temporary.write_bytes(data)


def write_json(target: Path, value: object) -> None:
    """Replace ``target`` by indented JSON, whole or not at all.

    Raises ValueError for NaN and infinities, which JSON does not have.
    """
    write_bytes(target, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def is_device(target: Path) -> bool:
    """Whether there is a device or a pipe, which is written to as it is, and has no neighbours."""
    return target.exists() and not target.is_file() and not target.is_dir()


def require_folder(target: Path) -> None:
    """Raise OSError where ``target`` is no folder to write in and cannot become one.

    It tells before long work what the first write would tell after it. Nothing stays behind.
    """
    target = target.absolute()
    there = next(place for place in (target, *target.parents) if os.path.lexists(place))
    try:
        os.rmdir(tempfile.mkdtemp(dir=there))
    except OSError as problem:
        raise OSError(problem.errno, problem.strerror, str(target)) from problem


def is_same(first: str | Path, second: str | Path) -> bool:
    """Whether both lead to one file or folder, by any spelling or link; False for a missing one."""
    try:
        return os.path.samefile(*(os.path.expanduser(path) for path in (first, second)))
    except (OSError, ValueError):  # not every text can be a path
        return False


def sha256_of(path: Path) -> str:
    """Hash a file's bytes; hexadecimal."""
    with path.open("rb") as stream:
        return sha256_of_stream(stream)


def sha256_of_stream(stream: IO[bytes]) -> str:
    """Hash what is left of a stream; hexadecimal."""
    digest = hashlib.sha256()
    while chunk := stream.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def _flush(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _temporary(target: Path, make: Callable[[Path], None]) -> Path:
    """Make something hidden beside ``target``; an error names ``target`` itself."""
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        if not target.parent.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
        make(temporary)
    except OSError as problem:
        raise OSError(problem.errno, problem.strerror, str(target)) from problem
    return temporary


def _lock(folder: Path) -> int | None:
    """Lock a folder until the descriptor is closed or the process ends; None where that fails."""
    if fcntl is None:
        return None
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _remove_leftovers(target: Path) -> None:
    """Remove temporary folders for ``target`` that no living process has locked."""
    for folder in target.parent.glob(f".{glob.escape(target.name)}.{'[0-9a-f]' * 16}.tmp"):
        lock = _lock(folder) if folder.is_dir() else None
        if lock is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _exchange(first: Path, second: Path) -> None:
    """Swap two names, in one step where the system has ``renameat2``."""
    if sys.platform == "linux":
        renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
        names = os.fsencode(first), os.fsencode(second)
        if renameat2 and not renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE):
            return
    aside = first.with_suffix(".old")
    second.replace(aside)
    try:
        first.replace(second)
    except OSError:
        aside.replace(second)
        raise
    aside.replace(first)
