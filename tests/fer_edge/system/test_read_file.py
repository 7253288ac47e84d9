"""Reading a file that somebody gave us."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fer_edge.errors import ArtifactError, InputError
from fer_edge.system.read_file import GIT_LFS_START, git_lfs_advice, read_file


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


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="is a folder; give one model file"):
        read_file(tmp_path, "model", 5, ArtifactError)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a system with named pipes")
def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ArtifactError, match="give a model in a regular file"):
        read_file(tmp_path / "pipe", "model", 5, ArtifactError)


def test_a_git_lfs_pointer_is_not_taken_for_the_file(file: Path) -> None:
    file.write_bytes(GIT_LFS_START + b"v1\noid sha256:0\nsize 1\n")
    with pytest.raises(ArtifactError, match="fetch the file with: git lfs pull"):
        read_file(file, "model", 1000, ArtifactError)


def test_other_files_get_no_advice() -> None:
    assert git_lfs_advice(b"version 1") is None
