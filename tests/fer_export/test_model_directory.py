"""The model directory that an export writes: what it may replace, and what it lists."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from fer_edge.artifacts.manifest import MANIFEST, ArtifactEntry, Companion, Manifest
from fer_edge.errors import ConfigurationError
from fer_export.model_directory import (
    REPORT,
    REPORT_FOLDER,
    artifact_entry,
    check_replaceable,
    keep_report,
)

HASH = "0" * 64


def _directory(folder: Path) -> Path:
    companion = Companion("triton/face/config.pbtxt", HASH, 1)
    entry = ArtifactEntry(
        "triton/face/1/model.onnx", HASH, 1, "triton", "fp32", companions=(companion,)
    )
    Manifest("old", "fp32", (entry,)).write(folder)
    (folder / "triton").mkdir()
    (folder / REPORT).touch()
    (folder / REPORT_FOLDER).mkdir()
    return folder


@pytest.mark.parametrize("force", [True, False])
def test_a_place_that_is_free_may_be_taken(force: bool, tmp_path: Path) -> None:
    check_replaceable(tmp_path / "new", force)
    check_replaceable(tmp_path, force)


def test_a_model_directory_is_replaced_with_force_alone(tmp_path: Path) -> None:
    folder = _directory(tmp_path)
    with pytest.raises(ConfigurationError, match="give --force"):
        check_replaceable(folder, False)
    check_replaceable(folder, True)


@pytest.mark.parametrize("manifest", ["of ours", '{"name": "a web app"}', None])
def test_force_replaces_no_folder_that_holds_anything_else(
    manifest: str | None, tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    if manifest == "of ours":
        _directory(tmp_path)
    elif manifest:
        (tmp_path / MANIFEST).write_text(manifest)
    with pytest.raises(ConfigurationError, match="which no export wrote, so it is not replaced"):
        check_replaceable(tmp_path, True)


def test_force_replaces_no_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ConfigurationError, match="is a file"):
        check_replaceable(tmp_path / "out", True)


@pytest.mark.parametrize("out", [".", "..", "/", "model/..", ""])
def test_the_folder_that_one_is_in_is_not_replaced(
    out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    with pytest.raises(ConfigurationError, match="name a folder inside it"):
        check_replaceable(Path(out), True)
    for free in ("model", "a/model", "../model"):
        check_replaceable(Path(free), False)


def test_a_kept_report_replaces_an_older_one_and_nothing_else(tmp_path: Path) -> None:
    kept = tmp_path / "model.failed-report"
    kept.mkdir()
    (kept / "sensitivity.csv").write_text("old")
    (kept / "notes.txt").write_text("mine")
    (tmp_path / "work" / REPORT_FOLDER).mkdir(parents=True)
    (tmp_path / "work" / REPORT_FOLDER / "sensitivity.csv").write_text("new")
    assert keep_report(tmp_path / "work", tmp_path / "model") == kept
    assert (kept / "sensitivity.csv").read_text() == "new"
    assert (kept / "notes.txt").read_text() == "mine"


def test_without_a_report_nothing_is_kept(tmp_path: Path) -> None:
    assert keep_report(tmp_path, tmp_path / "model") is None
    assert not list(tmp_path.iterdir())


def test_an_entry_has_the_hash_and_size_of_each_file(tmp_path: Path) -> None:
    (tmp_path / "model.xml").write_bytes(b"graph")
    (tmp_path / "model.bin").write_bytes(b"weights")
    entry = artifact_entry(
        tmp_path, "model.xml", "openvino-fp32", "fp32", companions=("model.bin",)
    )
    assert (entry.file, entry.size_bytes) == ("model.xml", 5)
    assert entry.sha256 == hashlib.sha256(b"graph").hexdigest()
    expected = Companion("model.bin", hashlib.sha256(b"weights").hexdigest(), 7)
    assert entry.companions == (expected,)


def test_force_replaces_no_folder_that_the_export_reads_from(tmp_path: Path) -> None:
    folder = _directory(tmp_path)
    inside = next(path for path in folder.iterdir() if path.is_file())
    for read in (folder, inside):
        with pytest.raises(ConfigurationError, match="is read for this export"):
            check_replaceable(folder, True, [read])
    check_replaceable(folder, True, [tmp_path.parent / "elsewhere.onnx"])
