"""What an export may replace."""

from __future__ import annotations

from pathlib import Path

import pytest

from fer_edge.errors import ConfigurationError
from fer_edge.manifest import MANIFEST, ArtifactEntry, Companion, Manifest
from fer_export.replacing import REPORT, REPORT_FOLDER, check_replaceable

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
