"""The files of a folder or a zip, each with what opens it, and what a file that is neither is."""

from __future__ import annotations

import functools
import os
import posixpath
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple, NoReturn

from fer_edge.errors import DataError
from fer_edge.evaluation.halves import half_named
from fer_edge.evaluation.unpacking import require_plain_methods
from fer_edge.system.read_file import GIT_LFS_ADVICE, GIT_LFS_START

PICTURES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".pjpeg", ".png", ".webp", ".bmp", ".dib"),
    *(".tif", ".tiff", ".gif", ".avif", ".heic", ".heif", ".jp2", ".jxl", ".ppm", ".pgm", ".pbm"),
}
"""Suffixes of pictures. Not all of these can be read, and one that cannot be is an error."""

PROSE = {".md", ".html", ".pdf", ".bib", ".ini", ".db", ".py", ".ipynb", ".log", ".yaml", ".yml"}
PAPERS = PROSE | {
    *(".txt", ".csv", ".tsv", ".json", ".xml", ".mat", ".npy", ".npz", ".pkl", ".pts"),
}
"""Suffixes of what may stand among pictures and is none; all but prose may be a half in a file."""
SHORTCUTS = {".lnk", ".url"}
ARCHIVES = {".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".lz4", ".7z", ".rar"}


class SourceFile(NamedTuple):
    """A file by its path below the source, with ``/`` between folders."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders that it is in, outermost first."""
        return tuple(self.name.split("/")[:-1])

    @property
    def last(self) -> str:
        """The name without its folders."""
        return self.name.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """What the name ends in, in lower case, with the dot."""
        return posixpath.splitext(self.last)[1].lower()


@dataclass(frozen=True)
class Listing:
    """All files below a source, in a fixed order, and its folders, empty ones included.

    What systems leave behind is left out: names that begin with a dot, macOS's ``__MACOSX``,
    Synology's ``@eaDir``, and what Windows keeps beside disks and downloads.
    """

    files: tuple[SourceFile, ...]
    folders: tuple[str, ...]


@contextmanager
def opened(path: Path) -> Iterator[Listing]:
    """List a folder or a zip; its files can be opened within the block.

    Links are followed, and those that lead back to a folder around them are left out. Raises
    DataError for what cannot be listed or read: a dangling link, a pipe, a folder without
    permission, a zip that is damaged, encrypted or unpacks to more than it should.
    """
    if os.path.isdir(path):
        yield _of_folder(path)
        return
    try:
        with zipfile.ZipFile(path) as archive:
            require_plain_methods(archive)
            yield _of_zip(archive, path)
    # zipfile's own error, and what it lets through of damaged names and contents
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError, ValueError) as problem:
        raise DataError(f"{path} is a damaged zip: {problem}. Download it again.") from problem


def open_file(path: Path) -> IO[bytes]:
    """Open a file to read. Raises DataError, which says why it cannot be."""
    try:
        return path.open("rb")
    except OSError as problem:
        raise _unreadable(path, problem) from problem


def _unreadable(path: str | Path, problem: OSError) -> DataError:
    if os.path.islink(path) and not os.path.exists(path):
        target = os.readlink(path)
        return DataError(f"{path} is a link to {target}, which is not there; mend or remove it")
    advice = "check who may read it" if isinstance(problem, PermissionError) else "check the path"
    return DataError(f"cannot read {path}: {problem.strerror}; {advice}")


def _of_folder(root: Path) -> Listing:
    files: list[SourceFile] = []
    folders: list[str] = []
    try:
        for folder, below, names in os.walk(root, onerror=_raise, followlinks=True):
            inside = Path(folder).relative_to(root)
            below[:] = [
                name
                for name in below
                if not _is_left_about(name) and not _leads_back(Path(folder, name))
            ]
            folders += [(inside / name).as_posix() for name in below]
            for name in names:
                if not _is_left_about(name):
                    files.append(_file_of(Path(folder, name), (inside / name).as_posix()))
    except OSError as problem:
        raise _unreadable(problem.filename or root, problem) from problem
    files.sort(key=lambda file: file.name.split("/"))
    return Listing(tuple(files), tuple(sorted(folders)))


def _raise(problem: OSError) -> NoReturn:
    raise problem


def _leads_back(folder: Path) -> bool:
    """Whether this is a link to a folder that it is in, by its name or behind other links."""
    if not folder.is_symlink():
        return False
    target = folder.resolve()
    return any(around.resolve().is_relative_to(target) for around in folder.parents)


def _file_of(path: Path, name: str) -> SourceFile:
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{path} is a pipe, socket or device; move it away")
    return SourceFile(name, status.st_size, functools.partial(open_file, path))


def _of_zip(archive: zipfile.ZipFile, path: Path) -> Listing:
    files: dict[str, SourceFile] = {}
    around: set[tuple[str, ...]] = set()
    for info in sorted(archive.infolist(), key=lambda info: info.filename):
        if not info.filename:
            raise zipfile.BadZipFile("one of its files has no name")
        if info.flag_bits & 1:
            raise DataError(
                f"{path} is encrypted; unpack it with its password, and give the folder"
            )
        name = info.filename.replace("\\", "/")  # as .NET on Windows packs
        *steps, last = name.split("/")
        folders = [step for step in steps if step not in _NO_STEPS]
        if any(map(_is_left_about, folders)):
            continue
        around.add(tuple(folders))
        if last and not _is_left_about(last):
            opener = functools.partial(archive.open, info)
            name = "/".join((*folders, last))
            files[name] = SourceFile(name, info.file_size, opener)  # the last one, as unzip does
    every = {"/".join(one[:depth]) for one in around for depth in range(1, len(one) + 1)}
    return Listing(tuple(files.values()), tuple(sorted(every)))


_NO_STEPS = {"", ".", ".."}
_LEFT_ABOUT = {
    "__MACOSX",
    "Icon\r",
    "__pycache__",
    "@eaDir",
    "$RECYCLE.BIN",
    "System Volume Information",
    "lost+found",
}


def _is_left_about(name: str) -> bool:
    """Whether a system or a tool made it; not a hidden half, nor what stands for a picture."""
    is_hidden = name.startswith(".") and not name.endswith(".icloud") and not half_named(name)
    return is_hidden or name in _LEFT_ABOUT or name.endswith(":Zone.Identifier")


_STARTS = {
    (
        b"\x1f\x8b",
        b"BZh",
        b"\xfd7zXZ",
        b"\x28\xb5\x2f\xfd",
    ): "it is packed; unpack it, and give what comes out",
    (b"7z\xbc\xaf", b"Rar!"): "it is a 7z or RAR archive; unpack it, and give the folder",
    (b"PK",): "it is a damaged zip; download it again",
    (GIT_LFS_START,): f"it {GIT_LFS_ADVICE}",
    (b"\x89HDF", b"PAR1", b"\x93NUMPY", b"\x80"): "it holds arrays (HDF5, Parquet, NumPy or a "
    "pickle); write its pictures into train/<class>/ and test/<class>/",
    (b"{", b"["): "it is JSON; give a list file with the columns path,label",
    (b"bplist",): "iCloud has not downloaded it; open its folder in Finder, and download it",
    (b"\xff\xd8\xff", b"\x89PNG"): "it is a picture; give the folder around its class folder",
    (b"<",): "it is a web page; download the data set itself",
}
_TAR_AT, _LOOKED_AT = 257, 512
_SHOWN = 16


def what_it_is(path: Path) -> str:
    """Tell in one sentence what the file is by its first bytes, and what to do next."""
    with open_file(path) as stream:
        start = stream.read(_LOOKED_AT)
    if told := _by_its_start(start):
        return told
    if b"emotion" in start.partition(b"\n")[0].lower():
        return f"it looks like a CSV file without its suffix; call it {path.name}.csv"
    return (
        f"it begins with {start[:_SHOWN]!r}; give a CSV file with the columns emotion,pixels,Usage"
    )


def what_one_is(files: Sequence[SourceFile]) -> str | None:
    """Name the first file that is known by its first bytes, and tell as ``what_it_is`` does."""
    for file in files:
        with file.open() as stream:
            told = _by_its_start(stream.read(_LOOKED_AT))
        if told:
            return f"{file.name}: {told}"
    return None


def _by_its_start(start: bytes) -> str | None:
    if not start:
        return "it is empty; download it again"
    if start.startswith(b"ustar", _TAR_AT):
        return "it is a tar archive; unpack it, and give the folder"
    return next((told for marks, told in _STARTS.items() if start.startswith(marks)), None)


def named_alike(path: Path) -> str:
    """Say what is beside a missing path and begins with its name in any case; empty if nothing."""
    try:
        beside = sorted(os.listdir(path.parent))
    except OSError:
        return ""
    stem = path.name.lower().partition(".")[0]
    names = [name for name in beside if stem and name.lower().startswith(stem)]
    return f"; there is {names[0]}" if names else ""
