"""Reading a file that somebody gave us."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from fer_edge.errors import ArtifactError, InputError
from fer_edge.system.read_file import (
    GIT_LFS_START,
    as_address,
    git_lfs_advice,
    read_file,
    refuse_git_lfs,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Five bytes."""
    (tmp_path / "file").write_bytes(b"12345")
    return tmp_path / "file"


def test_all_bytes_are_read_through_a_link(file: Path) -> None:
    (file.parent / "link").symlink_to(file)
    assert read_file(file.parent / "link", "model", 5, ArtifactError) == b"12345"


def test_more_bytes_than_allowed_are_refused(file: Path) -> None:
    with pytest.raises(ArtifactError, match=r"has 5 bytes; the most is 4\. Give a smaller model"):
        read_file(file, "model", 4, ArtifactError)


@pytest.mark.parametrize("error", [ArtifactError, InputError])
def test_the_error_is_of_the_callers_kind(
    error: type[ArtifactError] | type[InputError], tmp_path: Path
) -> None:
    with pytest.raises(error, match=r"there is no model at .*none'; check the path"):
        read_file(tmp_path / "none", "model", 5, error)


def a_pipe(folder: Path) -> str:
    os.mkfifo(folder / "pipe")  # that nobody writes into
    return str(folder / "pipe")


def a_socket(folder: Path) -> str:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")  # whose address has to be short
    return "socket"


def a_circle_of_links(folder: Path) -> str:
    (folder / "link").symlink_to("link")
    return str(folder / "link")


def below_a_file(folder: Path) -> str:
    return str(folder / "file" / "model")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a system with named pipes")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (str, "is a folder; give one model file"),
        (a_pipe, "is a device, pipe or socket; give a model in a regular file"),
        (a_socket, "is a device, pipe or socket"),
        (lambda _: "/dev/zero", "is a device, pipe or socket"),
        (a_circle_of_links, "cannot read the model .*link"),
        (below_a_file, "cannot read the model .*file/model"),
        (lambda _: "face\0.jpg", "cannot read the model"),
        (lambda _: "f" * 5000, "cannot read the model"),
    ],
)
def test_what_is_no_file_is_refused_without_waiting(
    make: Callable[[Path], str],
    message: str,
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArtifactError, match=message):
        read_file(make(tmp_path), "model", 5, ArtifactError)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a system with named pipes")
def test_a_file_that_becomes_a_pipe_is_refused_without_waiting(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe, regular = a_pipe(tmp_path), os.stat(file)
    monkeypatch.setattr(os, "stat", lambda *_, **__: regular)
    with pytest.raises(ArtifactError, match="device, pipe or socket"):
        read_file(pipe, "model", 5, ArtifactError)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0,
    reason="needs a user from whom permissions can be withdrawn (not root, not Windows)",
)
def test_a_file_without_permission_is_refused(file: Path) -> None:
    file.chmod(0)
    with pytest.raises(ArtifactError, match="this user may not read"):
        read_file(file, "model", 5, ArtifactError)


def test_a_git_lfs_pointer_is_not_taken_for_the_file(file: Path) -> None:
    file.write_bytes(GIT_LFS_START + b"v1\noid sha256:0\nsize 1\n")
    with pytest.raises(ArtifactError, match="fetch the file with: git lfs pull"):
        read_file(file, "model", 1000, ArtifactError)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "file has 0 bytes; copy or download the file again"),
        (b"<!DOCTYPE html>", "is a web page, not the file itself; download the file by its direct"),
        (b"\xef\xbb\xbf\n<HTML lang=en>", "is a web page"),
    ],
)
def test_what_stands_in_a_files_place_is_told(file: Path, data: bytes, message: str) -> None:
    file.write_bytes(data)
    with pytest.raises(ArtifactError, match=message):
        read_file(file, "model", 1000, ArtifactError)


@pytest.mark.parametrize("data", [b'<?xml version="1.0"?><net>', b"<net>", b"<htmlish>"])
def test_xml_is_no_web_page(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    assert read_file(file, "model", 1000, ArtifactError) == data


@pytest.mark.parametrize("given", ["https://a.b/c.onnx", Path("https://a.b/c.onnx")])
def test_an_address_is_no_path(given: str | Path) -> None:
    message = "^https://a.b/c.onnx is an address; download the model and give its path"
    with pytest.raises(ArtifactError, match=message):
        read_file(given, "model", 5, ArtifactError)


def test_a_path_that_looks_like_an_address_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "http:").mkdir()
    (tmp_path / "http:" / "a").touch()
    monkeypatch.chdir(tmp_path)
    assert as_address("http://a") is None
    assert as_address("C:/a") is None
    assert as_address(tmp_path / "none") is None


def test_other_files_get_no_advice() -> None:
    assert git_lfs_advice(b"version 1") is None


def test_a_file_that_another_library_reads_is_refused_as_a_pointer_alone(file: Path) -> None:
    refuse_git_lfs(file, ArtifactError)
    refuse_git_lfs(file.parent / "none", ArtifactError)
    file.write_bytes(GIT_LFS_START + b"v1\n")
    with pytest.raises(ArtifactError, match="fetch the file with: git lfs pull"):
        refuse_git_lfs(file, ArtifactError)
