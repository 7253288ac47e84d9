"""Files and folders that are whole or not there."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest

from fer_edge.system import files
from fer_edge.system.files import (
    atomic_path,
    errors_naming,
    new_folder,
    sha256_of,
    write_bytes,
    write_json,
)

Writer: TypeAlias = Callable[[Path], AbstractContextManager[Path]]


def fill(path: Path, text: str) -> None:
    """Write into a temporary file, or a file into a temporary folder."""
    (path / "file" if path.is_dir() else path).write_text(text)


def content(path: Path) -> str:
    return (path / "file" if path.is_dir() else path).read_text()


def write(writer: Writer, target: Path, text: str) -> None:
    with writer(target) as temporary:
        fill(temporary, text)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


both = pytest.mark.parametrize("writer", [atomic_path, new_folder])


# --- what both promise


@both
def test_the_target_appears_when_the_block_ends(writer: Writer, tmp_path: Path) -> None:
    target = tmp_path / "target"
    with writer(target) as temporary:
        fill(temporary, "new")
        assert not target.exists()
    assert content(target) == "new"


@both
def test_what_was_written_is_on_the_disk_before_it_has_its_name(
    writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, flushed = tmp_path / "target", []
    fsync = os.fsync

    def record(handle: int) -> None:
        flushed.append((os.pread(handle, 99, 0), target.exists()))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", record)
    write(writer, target, "new")
    assert flushed == [(b"new", False)]


@both
def test_an_older_target_is_replaced_and_nothing_stays_beside_it(
    writer: Writer, tmp_path: Path
) -> None:
    for text in ("old", "new"):
        write(writer, tmp_path / "target", text)
    assert (content(tmp_path / "target"), os.listdir(tmp_path)) == ("new", ["target"])


@both
def test_missing_parents_are_made(writer: Writer, tmp_path: Path) -> None:
    write(writer, tmp_path / "a/b/target", "new")
    assert content(tmp_path / "a/b/target") == "new"


@both
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_what_was_there_and_nothing_else(
    writer: Writer, error: type[BaseException], tmp_path: Path
) -> None:
    def fail() -> None:
        with writer(tmp_path / "target") as temporary:
            fill(temporary, "new")
            raise error

    with pytest.raises(error):
        fail()
    assert os.listdir(tmp_path) == []
    write(writer, tmp_path / "target", "old")
    with pytest.raises(error):
        fail()
    assert (content(tmp_path / "target"), os.listdir(tmp_path)) == ("old", ["target"])


@both
def test_a_killed_process_leaves_what_was_there(writer: Writer, tmp_path: Path) -> None:
    write(writer, tmp_path / "target", "old")
    script = f"""
import os, sys
from pathlib import Path
from fer_edge.system.files import {writer.__name__} as writer
with writer(Path(sys.argv[1])) as temporary:
    (temporary / "file" if temporary.is_dir() else temporary).write_text("half")
    os._exit(9)
"""
    ended = subprocess.run([sys.executable, "-c", script, tmp_path / "target"], check=False)
    assert (ended.returncode, content(tmp_path / "target")) == (9, "old")


@both
def test_what_a_killed_process_left_does_not_hinder_the_next(
    writer: Writer, tmp_path: Path
) -> None:
    abandoned = writer(tmp_path / "target")
    abandoned.__enter__()
    write(writer, tmp_path / "target", "new")
    assert content(tmp_path / "target") == "new"
    abandoned.__exit__(ValueError, ValueError(), None)


@both
@pytest.mark.parametrize(("mask", "file_mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_are_those_of_any_new_file(
    writer: Writer, mask: int, file_mode: int, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    with umask(mask):
        write(writer, target, "new")
    expected = file_mode if target.is_file() else file_mode | (file_mode & 0o444) >> 2
    assert target.stat().st_mode & 0o777 == expected


@both
def test_a_link_is_followed_and_kept(writer: Writer, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    write(writer, tmp_path / "elsewhere/target", "old")
    link = tmp_path / "link"
    link.symlink_to("elsewhere/target")
    write(writer, link, "new")
    assert link.is_symlink()
    assert content(tmp_path / "elsewhere/target") == "new"
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "link"]


@both
def test_a_folder_that_is_a_file_is_named_in_the_error(writer: Writer, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError) as caught, writer(tmp_path / "file/target"):
        pytest.fail("nothing can be written here")
    assert caught.value.filename == str(tmp_path / "file/target")


@both
@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to read-only folders")
def test_a_read_only_folder_is_an_error_before_the_work(writer: Writer, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PermissionError) as caught, writer(tmp_path / "target"):
            pytest.fail("nothing can be written here")
    finally:
        tmp_path.chmod(0o700)
    assert caught.value.filename == str(tmp_path / "target")


# --- files


def test_a_file_that_another_library_put_in_place_is_as_readable_as_any(tmp_path: Path) -> None:
    with umask(0o022), atomic_path(tmp_path / "target") as temporary:
        other = tmp_path / "other"
        other.write_text("new")
        other.chmod(0o600)
        other.replace(temporary)
    assert (tmp_path / "target").stat().st_mode & 0o777 == 0o644


def test_a_folder_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        write_bytes(tmp_path / "folder", b"new")
    assert caught.value.filename == str(tmp_path / "folder")
    assert os.listdir(tmp_path) == ["folder"]


def test_a_pipe_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="pipe"), atomic_path(tmp_path / "pipe"):
        pytest.fail("a pipe is no file")
    assert (tmp_path / "pipe").is_fifo()


def test_a_pipe_receives_the_bytes(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_bytes(pipe, b"new")
        assert os.read(reader, 10) == b"new"
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_json_is_indented_and_ends_with_a_line(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": [1]})
    assert (tmp_path / "x.json").read_text() == '{\n  "a": [\n    1\n  ]\n}\n'


@pytest.mark.parametrize("value", [{"a": float("nan")}, {"a": float("inf")}, {"a": object()}])
def test_what_json_cannot_say_leaves_the_old_file(value: object, tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"old": 1})
    with pytest.raises((ValueError, TypeError)):
        write_json(tmp_path / "x.json", value)
    assert json.loads((tmp_path / "x.json").read_text()) == {"old": 1}


@pytest.mark.parametrize("size", [0, 1, (1 << 20) + 1])
def test_the_hash_is_of_all_bytes(size: int, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x" * size)
    assert sha256_of(tmp_path / "x") == hashlib.sha256(b"x" * size).hexdigest()


# --- folders


def test_files_of_the_older_folder_are_gone(tmp_path: Path) -> None:
    target = tmp_path / "target"
    (target / "below").mkdir(parents=True)
    (target / "below/old").touch()
    write(new_folder, target, "new")
    assert os.listdir(target) == ["file"]


def test_a_file_is_not_replaced_by_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(NotADirectoryError), new_folder(tmp_path / "file"):
        pytest.fail("a file is no folder")
    assert (os.listdir(tmp_path), (tmp_path / "file").read_text()) == (["file"], "old")


def test_a_system_that_cannot_exchange_names_uses_two_renames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    for text in ("old", "new"):
        write(new_folder, tmp_path / "target", text)
    assert (content(tmp_path / "target"), os.listdir(tmp_path)) == ("new", ["target"])


def test_the_older_folder_comes_back_when_the_second_rename_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    write(new_folder, tmp_path / "target", "old")
    rename = Path.replace

    def fails_for_the_new_one(self: Path, other: Path) -> Path:
        if self.suffix == ".tmp":
            raise OSError(5, "Input/output error")
        return rename(self, other)

    monkeypatch.setattr(files.Path, "replace", fails_for_the_new_one)
    with pytest.raises(OSError, match="Input/output"):
        write(new_folder, tmp_path / "target", "new")
    assert (content(tmp_path / "target"), os.listdir(tmp_path)) == ("old", ["target"])


def test_a_folder_that_is_being_written_is_no_leftover(tmp_path: Path) -> None:
    with new_folder(tmp_path / "model") as first:
        (first / "first.txt").write_text("first")
        with new_folder(tmp_path / "model") as second:
            (second / "second.txt").write_text("second")
            assert (first / "first.txt").read_text() == "first"
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["first.txt"]


def test_an_error_of_a_full_disk_names_the_file(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    with (
        pytest.raises(OSError, match="No space") as caught,
        errors_naming(target),
        open("/dev/full", "w") as full,
    ):
        full.write("too much")
    assert caught.value.filename == str(target)


def test_an_error_inside_a_new_folder_names_the_folder_that_was_asked_for(tmp_path: Path) -> None:
    with (
        pytest.raises(OSError, match="No space") as caught,
        new_folder(tmp_path / "model") as folder,
        errors_naming(folder / "out.json"),
        open("/dev/full", "w") as full,
    ):
        full.write("too much")
    assert caught.value.filename == str(tmp_path / "model" / "out.json")


def test_an_error_that_names_a_file_stays_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="gone"), errors_naming(tmp_path / "out.json"):
        (tmp_path / "gone").read_text()
